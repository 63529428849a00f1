"""A bot's overview: what is known, what stands in the way, what is next, and what a point of reward costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import clock
from bots import costs
from bots.models import Bot, Post, Sanction
from faces.contract import Face
from faces.models import Connection, Usage
from faces.registry import FACES
from tests.factories import (
    World,
    client_of,
    make_bot,
    make_connection,
    make_dataset,
    make_post,
    make_reward,
    make_round,
    make_run,
    make_version,
)
from tests.fake_platform import FakePlatform, StubKind, fake_face
from training import drawings, progress, series
from training.models import Dataset, ModelVersion


def said(world: World, bot: Bot, address: str = "", who: str = "alice") -> str:
    answer = client_of(getattr(world, who)).get(f"/o/acme/bots/{bot.pk}/{address}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


KNOWN = {"lift": 0.4, "lift_low": 0.1, "lift_high": 0.7, "learning_posts": 212, "baseline_posts": 38}


def test_the_first_sentence_is_there_with_the_page_and_its_interval_is_drawn(acme: World, bot: Bot) -> None:
    make_round(make_run(bot, "online", state="running"), metrics=KNOWN)
    page = said(acme, bot)
    assert "Yes: posts from the learning model score 0.40 sd above the frozen one; 95 % +0.10 to +0.70" in page
    assert '<circle class="dot" cx="54.57%"' in page
    assert said(acme, bot, "lift/").partition("<svg")[2][:200] in page


def test_an_interval_leaves_room_for_its_words() -> None:
    found = drawings.interval(0.4, 0.1, 0.7)
    assert (found.zero, found.mean, found.low, found.high) == ("18.00%", "54.57%", "27.14%", "82.00%")
    assert (found.low_words, found.high_words) == ("+0.10", "+0.70")
    below = drawings.interval(-0.4, -0.7, -0.1)
    assert (below.low, below.zero, below.low_words) == ("18.00%", "82.00%", "−0.70")


def test_a_new_bot_is_led_from_step_to_step(acme: World) -> None:
    bot, found = make_bot(), []

    def step() -> str | None:
        following = progress.next_step(bot, "acme")
        return following.action if following else None

    found.append(step())
    dataset = make_dataset(bot, state=Dataset.State.UPLOADED)
    found.append(step())
    Dataset.objects.filter(pk=dataset.pk).update(state=Dataset.State.READY)
    found.append(step())
    run = make_run(bot, dataset=dataset, state="running")
    found.append(step())
    run.state = "failed"
    run.save()
    found.append(step())
    run.state = "finished"
    run.save()
    make_version(bot, run=run)
    found.append(step())
    make_run(bot, "online", state="queued")
    found.append(step())
    assert found == [
        "Upload posts",
        "Import its posts",
        "Start fine-tuning",
        None,
        "See why it failed",
        "Start online learning",
        None,
    ]


def test_the_next_step_is_a_button_for_whoever_may_take_it(acme: World) -> None:
    bot = make_bot()
    assert f'href="/o/acme/bots/{bot.pk}/datasets/upload/">Upload posts' in said(acme, bot)
    page = said(acme, bot, who="bob")
    assert "It needs past posts to learn how to write." in page
    assert ">Upload posts" not in page.partition('class="chart')[0]


def test_what_stands_in_the_way_is_said_with_where_to_go(acme: World) -> None:
    bot = make_bot(paused_at=clock.now(), pause_reason="Holidays")
    Connection.objects.filter(pk=bot.connection_id).update(state="broken", problem="The password was changed.")
    Sanction.objects.create(bot=bot, grade="suspension", reason="It was spam.", by="operator")
    Sanction.objects.create(bot=make_bot(bot.connection), grade="warning", reason="Another bot", by="operator")
    page = said(acme, bot)
    for words in ("It was spam.", 'href="/o/acme/sanctions/"', "Holidays", "The password was changed."):
        assert words in page, words
    assert "Another bot" not in page


def test_versions_are_marked_where_they_were_made(acme: World, bot: Bot) -> None:
    run = make_run(bot, "online", state="running")
    for number in range(1, 5):
        version = make_version(bot, run=run, kind="online") if number % 2 == 0 else None
        make_round(run, number, version=version, metrics={"reward_mean": 0.1})
    ModelVersion.objects.filter(bot=bot).update(is_current=False)
    ModelVersion.objects.filter(bot=bot, number=3).update(is_current=True)
    assert progress.marks_of(run) == [
        {"step": 2, "label": "v2", "title": "Version 2, made in round 2"},
        {"step": 4, "label": "v3", "title": "Version 3, made in round 4, speaks now"},
    ]
    answer = client_of(acme.alice).get(f"/o/acme/bots/{bot.pk}/series/").json()
    assert [each["label"] for each in answer["runs"][-1]["marks"]] == ["v2", "v3"]
    assert series.MOST_POINTS >= progress.MOST_MARKS
    assert progress.marks_of(make_run(bot, state="finished")) == []


def test_the_overview_asks_little(acme: World, bot: Bot) -> None:
    make_round(make_run(bot, "online", state="running"), metrics=KNOWN)
    said(acme, bot)
    client = client_of(acme.alice)
    client.get(f"/o/acme/bots/{bot.pk}/")
    with CaptureQueriesContext(connection) as queries:
        client.get(f"/o/acme/bots/{bot.pk}/")
    assert len(queries) <= 15, "\n".join(query["sql"][60:300] for query in queries)


# Cost per reward point


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A connection to a platform that charges for posts."""
    face: type[Face] = fake_face(FakePlatform())
    monkeypatch.setattr(face, "price", lambda self, post: 10_000)
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    return make_connection("fake")


def charged(connection: Connection, dollars: float, days_ago: float = 0) -> None:
    start = clock.now() - timedelta(days=days_ago)
    fields: dict[str, Any] = {"operation": "publish", "seconds": 0, "calls": 1}
    Usage.objects.create(connection=connection, start=start, microdollars=round(dollars * 1e6), **fields)


def published(bot: Bot, reward: float | None, days_ago: float = 1) -> Post:
    post = make_post(bot, "published", published_at=clock.now() - timedelta(days=days_ago))
    if reward is not None:
        make_reward(post, value=reward)
    return post


def test_a_point_costs_what_was_charged_by_what_was_earned(acme: World, priced: Connection) -> None:
    bot = make_bot(priced)
    charged(priced, 1.5)
    charged(priced, 0.5, days_ago=29)
    charged(priced, 100, days_ago=31)
    published(bot, 30)
    published(bot, 10, days_ago=29)
    published(bot, None)
    published(bot, 1000, days_ago=31)
    found = costs.per_reward_point(bot)
    assert (found.spent, found.points, found.rewarded, found.per_point) == (2.0, 40.0, 2, 0.05)
    assert found.sentence == "$0.0500: $2.00 in the last 30 days for 40.0 points of 2 posts."
    assert found.sentence in said(acme, bot)
    answer = client_of(acme.alice).get(f"/api/v1/organizations/acme/bots/{bot.pk}/point-cost/").json()
    assert (answer["per_point"], answer["sentence"]) == (0.05, found.sentence)


def test_bots_share_the_charges_of_their_connection(acme: World, priced: Connection) -> None:
    first, second = make_bot(priced), make_bot(priced)
    charged(priced, 4)
    published(first, 10)
    for _ in range(3):
        published(second, 1)
    assert (costs.per_reward_point(first).spent, costs.per_reward_point(second).spent) == (1.0, 3.0)


def test_what_is_not_known_is_not_made_up(acme: World, priced: Connection) -> None:
    bot, sentences = make_bot(priced), []

    def ask() -> None:
        found = costs.per_reward_point(bot)
        assert found.per_point is None
        sentences.append(found.sentence)

    ask()
    charged(priced, 2)
    published(bot, None)
    ask()
    published(bot, -3)
    ask()
    assert sentences == [
        "Not yet known: its platform charged nothing in the last 30 days.",
        "Not yet known: $2.00 in the last 30 days, and no post of that time has its reward yet.",
        "Not yet known: $2.00 in the last 30 days, and the rewards of that time add up to nothing above 0.",
    ]
    assert costs.per_reward_point(make_bot()).sentence == "Nothing: its platform charges nothing."
