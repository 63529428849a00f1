"""The page of schedules: words and times before anything is saved, several schedules, and hours that did well."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.tenancy import tenant
from bots.models import Bot, Post, Schedule
from tests.accounts.test_pages import trouble_of
from tests.bots.test_best_hours import rows
from tests.factories import World, client_of, make_bot, make_post, make_reward, make_schedule

RULE = {"kind": "cron", "cron": "0 9 * * *", "zone": "Europe/Warsaw", "misfire": "late", "misfire_minutes": "60"}


@pytest.fixture
def bot(world: World) -> Any:
    with tenant(world.acme.pk):
        yield make_bot(posts_per_day=4)


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


def at(bot: Bot, rest: str = "") -> str:
    return f"/o/acme/bots/{bot.pk}/schedule/{rest}"


def test_a_preview_says_the_rule_in_words_and_its_times_over_a_clock_change(
    alice: Client, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.clock.now", lambda: datetime(2026, 10, 23, 12, 0, tzinfo=UTC))
    page = " ".join(alice.post(at(bot), RULE | {"preview": "1"}).text.split())
    assert "At 09:00, every day." in page
    assert 'Saturday 24 October 2026</span><span class="nowrap">09:00 <span class="muted small">CEST' in page
    assert 'Sunday 25 October 2026</span><span class="nowrap">09:00 <span class="muted small">CET' in page
    assert "At most 4 posts a day" in page
    assert not Schedule.objects.exists()


def test_several_schedules_are_made_changed_switched_and_removed(alice: Client, bot: Bot) -> None:
    assert alice.post(at(bot), RULE).status_code == 302
    weekly = RULE | {"schedule": "new", "kind": "timetable", "timetable": "fri 18:30"}
    answer = alice.post(at(bot), weekly, follow=True)
    assert trouble_of(answer) == []
    daily, friday = Schedule.objects.order_by("created_at")
    assert answer.context["schedule"] == friday
    assert "Friday at 18:30" in answer.text
    assert alice.post(at(bot), weekly | {"schedule": str(friday.pk), "timetable": "sat 18:30"}).status_code == 302
    assert alice.post(at(bot), RULE | {"cron": "0 7 * * *"}).status_code == 302  # without a name, the first
    assert list(Schedule.objects.values_list("kind", "cron", "timetable")) == [
        ("cron", "0 7 * * *", []), ("timetable", "0 9 * * *", ["sat 18:30"]),
    ]  # fmt: skip
    answer = alice.post(at(bot, f"{friday.pk}/switch/"), follow=True)
    assert ("switched off" in answer.text, Schedule.objects.get(pk=friday.pk).active) == (True, False)
    alice.post(at(bot, f"{friday.pk}/switch/"))
    assert Schedule.objects.get(pk=friday.pk).active
    post = make_post(bot, "scheduled", schedule=friday)
    alice.post(at(bot, f"{friday.pk}/remove/"))
    assert (list(Schedule.objects.all()), Post.objects.get(pk=post.pk).state) == ([daily], "approved")


def test_another_bots_schedule_is_not_this_ones(alice: Client, world: World, bot: Bot) -> None:
    theirs = make_schedule(make_bot())
    assert alice.get(at(bot, f"?schedule={theirs.pk}")).status_code == 404
    assert alice.post(at(bot), RULE | {"schedule": str(theirs.pk)}).status_code == 404
    assert alice.post(at(bot, f"{theirs.pk}/remove/")).status_code == 404
    assert alice.get(at(bot, "?schedule=nonsense")).status_code == 404
    own = make_schedule(bot)
    assert client_of(world.bob).post(at(bot, f"{own.pk}/switch/")).status_code == 403
    page = client_of(world.bob).get(at(bot)).text
    assert ("Save schedule" in page, "Remove" in page) == (False, False)


def test_hours_that_did_well_fill_the_timetable_and_save_nothing(alice: Client, bot: Bot) -> None:
    assert "30 posts with a reward are needed, 30 more" in alice.get(at(bot)).text
    for moment, reward in rows((9, [-1.0, 1.0] * 8), (18, [0.0, 2.0] * 8)):
        make_reward(make_post(bot, "published", published_at=moment), value=reward)
    page = alice.get(at(bot)).text
    assert "<strong>18:00</strong>" in page
    assert "A guess from 32 posts" in page
    answer = alice.post(at(bot), RULE | {"zone": "UTC", "use_hours": "1"})
    assert answer.context["form"]["timetable"].value().splitlines()[:2] == ["mon 18:00", "tue 18:00"]
    assert "Every day at 18:00." in answer.text
    assert len(answer.context["next_times"]) == 10
    assert not Schedule.objects.exists()


def test_the_api_says_the_rule_in_words(alice: Client, bot: Bot) -> None:
    body = {"bot": str(bot.pk), "kind": "cron", "cron": "0 9 * * mon-fri"}
    told = alice.post("/api/v1/organizations/acme/schedules/preview/", body, content_type="application/json").json()
    assert (told["words"], len(told["next_slots"])) == ("At 09:00, Monday through Friday", 10)


def test_the_page_asks_few_questions(alice: Client, bot: Bot) -> None:
    for number in range(5):
        make_schedule(bot, cron=f"{number} 9 * * *")
    alice.get(at(bot))
    with CaptureQueriesContext(connection) as queries:
        assert alice.get(at(bot)).status_code == 200
    assert len(queries) <= 18
