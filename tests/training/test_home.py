"""The home: how each bot is doing, what needs a person, the first steps, and the sandbox bot of the first click."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import clock, quotas
from accounts.models import Organization
from accounts.tenancy import tenant
from bots import home
from bots.models import Bot, Sanction
from faces.models import Connection
from tests.factories import (
    World,
    client_of,
    make_bot,
    make_connection,
    make_dataset,
    make_post,
    make_round,
    make_run,
    make_schedule,
    make_world,
)
from training import drawings
from training.models import Dataset, Run, RunEvent
from training.services import demo

ALL = dict.fromkeys(
    ("bot_edit", "post_approve", "post_write", "connection_edit", "dataset_edit", "run_control", "bot_pause"), True
)


@pytest.fixture
def few_posts(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first posts of the demo's file, and no worker that hears of them."""
    file = folders / "posts.csv"
    file.write_bytes(b"".join(demo.POSTS.read_bytes().splitlines(keepends=True)[:60]))
    monkeypatch.setattr(demo, "POSTS", file)


def said(client: Client, slug: str = "acme") -> str:
    answer = client.get(f"/o/{slug}/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def learning(bot: Bot, rounds: int = 3, **last: float) -> Run:
    run = make_run(bot, "online", state="running")
    for number in range(1, rounds + 1):
        facts = {"reward_mean": number / 10, "baseline_mean": 0.0} | (last if number == rounds else {})
        make_round(run, number, metrics=facts)
    return run


def test_a_bot_is_shown_with_its_curve_its_verdict_and_what_comes_next(acme: World) -> None:
    bot = make_bot(name="Town crier")
    learning(bot, lift=0.62, lift_low=0.3, lift_high=0.9)
    scheduled = make_post(bot, "scheduled", slot_utc=clock.now() + timedelta(hours=2))
    make_post(bot, "published", slot_utc=clock.now() - timedelta(hours=2))
    page = said(client_of(acme.alice))
    assert 'd="M0.00 32.00L50.00 16.00L100.00 0.00"' in page
    assert "Mean reward over 3 rounds: from 0.10 to 0.30 sd" in page
    assert "Getting better: 0.62 sd above the baseline" in page
    assert scheduled.slot_utc.isoformat() in page
    assert "Online learning: running" in page
    assert "<dd>1 post</dd>" in page


def test_a_bot_that_has_learned_nothing_yet_says_so(acme: World) -> None:
    make_bot(name="New")
    page = said(client_of(acme.alice))
    assert "No reward yet" in page
    assert "<path" not in page.split('class="bot-cards"')[1]


def test_what_needs_a_person_comes_first_and_links_to_the_thing(acme: World) -> None:
    bot = make_bot(name="Town crier", queue_empty_since=clock.now())
    make_post(bot)
    make_post(bot, "needs_human")
    Connection.objects.filter(pk=bot.connection_id).update(state="broken", problem="The password was changed.")
    failed = make_run(bot, state="failed", error="Out of memory\nTraceback")
    waiting = make_dataset(make_bot(name="Other"), state=Dataset.State.UPLOADED)
    Sanction.objects.create(bot=bot, grade="warning", reason="Spam", by="operator")
    found = home.needs(acme.acme, ALL, 1)
    assert [(need.label, need.url) for need in found] == [
        ("Outcome unknown", "/o/acme/needs-human/"),
        ("Connection broken", f"/o/acme/connections/{bot.connection_id}/"),
        ("Fine-tuning failed", f"/o/acme/bots/{bot.pk}/runs/{failed.pk}/"),
        ("Dataset", f"/o/acme/bots/{waiting.bot_id}/datasets/{waiting.pk}/preview/"),
        ("Warning", "/o/acme/sanctions/"),
        ("To review", f"/o/acme/bots/{bot.pk}/review/"),
        ("Queue empty", f"/o/acme/bots/{bot.pk}/queue/"),
    ]
    page = said(client_of(acme.alice))
    assert page.index("What needs you") < page.index("Out of memory") < page.index('class="bot-cards"')
    assert "Traceback" not in page


def test_what_was_settled_needs_nobody(acme: World) -> None:
    bot = make_bot()
    make_run(bot, state="failed", error="Out of memory")
    make_run(bot, state="finished")
    over = make_run(make_bot(), state="finished")
    RunEvent.objects.create(run=over, at=clock.now(), level="alert", kind="divergence", text="It diverged.")
    Sanction.objects.create(grade="warning", reason="Old", by="operator", until=clock.now() - timedelta(days=1))
    Sanction.objects.create(grade="warning", reason="Lifted", by="operator", lifted_at=clock.now())
    assert home.needs(acme.acme, ALL, 0) == []
    assert "Nothing waits for you." in said(client_of(acme.alice))


def test_an_alert_of_a_run_that_goes_on_needs_a_person(acme: World) -> None:
    run = learning(make_bot())
    RunEvent.objects.create(run=run, at=clock.now(), level="alert", kind="divergence", text="The loss diverged.")
    assert [(need.label, need.words) for need in home.needs(acme.acme, ALL, 0)] == [("Alert", "The loss diverged.")]


def test_whoever_may_only_look_is_asked_for_nothing(acme: World) -> None:
    bot = make_bot()
    make_post(bot)
    make_run(bot, state="failed")
    page = said(client_of(acme.bob))
    assert "What needs you" not in page
    assert "Your role does not allow this" in page


def test_the_home_asks_as_much_for_thirty_bots_as_for_two(acme: World) -> None:
    connection_of_all = make_connection()

    def more(count: int) -> None:
        for _ in range(count):
            bot = make_bot(connection_of_all)
            make_schedule(bot)
            learning(bot)
            make_post(bot)
            make_post(bot, "scheduled")

    client, asked = client_of(acme.alice), []
    for count in (2, 28):
        more(count)
        said(client)
        with CaptureQueriesContext(connection) as queries:
            said(client)
        asked.append(len(queries))
    assert asked[0] == asked[1]
    assert asked[1] <= 15, "\n".join(query["sql"][60:400] for query in queries)
    first, second = said(client), " ".join(client.get("/o/acme/?page=2").content.decode().split())
    assert (first.count('class="bot-card"'), second.count('class="bot-card"')) == (24, 6)
    for page in ("0", "-1", "9" * 5000, "x"):
        assert client.get("/o/acme/", {"page": page}).status_code == 200


def test_the_guide_ticks_what_is_done_and_goes_when_all_is(acme: World) -> None:
    def done() -> list[bool]:
        return [step.done for step in home.first_steps(acme.acme, ALL, None)]

    assert done() == [False, False, False]
    bot = make_bot()
    make_dataset(bot, source=demo.SOURCE)
    assert done() == [True, False, False]
    make_dataset(bot)
    assert done() == [True, True, False]
    make_connection("mastodon")
    assert done() == []


def test_an_empty_organization_is_shown_three_steps(acme: World) -> None:
    page = said(client_of(acme.alice))
    assert page.count('class="guide__step"') == 3
    assert 'action="/o/acme/sandbox-bot/"' in page
    assert "Make a sandbox bot" in page
    assert "Pause all publishing" not in page


# The sandbox bot


@pytest.mark.usefixtures("few_posts")
def test_one_click_makes_a_bot_that_learns(world: World, rung: list[tuple[str, ...]]) -> None:
    client = client_of(world.alice)
    first = client.post("/o/acme/sandbox-bot/")
    with tenant(world.acme.pk):
        bot, run = Bot.objects.get(), Run.objects.get()
        assert (bot.connection.simulated, run.state, run.kind) == (True, "queued", "offline")
        assert run.then_online["stop_after_posts"] == demo.ONLINE["stop_after_posts"]
        assert Dataset.objects.get().licence == demo.LICENCE
    assert first.headers["Location"] == f"/o/acme/bots/{bot.pk}/"
    again = client.post("/o/acme/sandbox-bot/")
    assert again.headers["Location"] == first.headers["Location"]
    with tenant(world.acme.pk):
        assert [Bot.objects.count(), Connection.objects.count(), Dataset.objects.count(), Run.objects.count()] == [
            1
        ] * 4


@pytest.mark.usefixtures("few_posts")
def test_a_second_sandbox_bot_finds_a_free_name(acme: World, rung: list[tuple[str, ...]]) -> None:
    make_bot(name=demo.NAME)
    make_connection(name=f"{demo.NAME} 2’s sandbox")
    assert demo.make_sandbox_bot().name == f"{demo.NAME} 3"


@pytest.mark.usefixtures("few_posts")
def test_without_room_nothing_is_made(world: World, rung: list[tuple[str, ...]]) -> None:
    Organization.objects.filter(pk=world.acme.pk).update(quotas={"stored_bytes": 10})
    client = client_of(world.alice)
    assert client.post("/o/acme/sandbox-bot/").headers["Location"] == "/o/acme/"
    assert "quota is used up" in said(client)
    with tenant(world.acme.pk):
        assert (Bot.objects.count(), Connection.objects.count(), quotas.used("bots")) == (0, 0, 0)


@pytest.mark.usefixtures("few_posts")
def test_the_api_makes_it_too(world: World, rung: list[tuple[str, ...]]) -> None:
    answers = [client_of(world.alice).post("/api/v1/organizations/acme/sandbox-bot/") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[0].json()["simulated"] is True
    assert client_of(world.bob).post("/api/v1/organizations/acme/sandbox-bot/").status_code == 403


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("few_posts")
def test_two_clicks_at_once_make_one_bot(rung: list[tuple[str, ...]]) -> None:
    world, made = make_world(), list[Any]()

    def click() -> None:
        with tenant(world.acme.pk):
            made.append(demo.make_sandbox_bot().pk)
        connection.close()

    clicks = [threading.Thread(target=click) for _ in range(2)]
    for each in clicks:
        each.start()
    for each in clicks:
        each.join(30)
    assert len(made) == 2
    assert len(set(made)) == 1


# What is drawn


def test_ticks_are_round_numbers_around_the_values() -> None:
    assert drawings.ticks(-0.31, 0.93) == [-0.5, 0.0, 0.5, 1.0]
    assert drawings.ticks(0.0, 0.0) == [0.0, 0.2]
    assert drawings.ticks(3.0, 3.0)[0] <= 3.0 < drawings.ticks(3.0, 3.0)[-1]


def test_a_curve_fills_its_frame() -> None:
    box = drawings.frame(100, 50, [(1, 0.0), (2, 1.0)], [(1, -1.0)])
    assert box.line([(1, 0.0), (2, 1.0)]) == "M0.00 25.00L100.00 0.00"
    assert box.area([(1, 1.0), (2, 1.0)], [(1, -1.0), (2, -1.0)]) == "M0.00 0.00L100.00 0.00L100.00 50.00L0.00 50.00Z"
    assert drawings.frame(100, 50, [(1, 1.0)]).line([(1, 1.0)]) == "M50.00 25.00"
