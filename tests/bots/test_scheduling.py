"""Slots given out and slots that come: in order, once, within the cap, and never in a burst."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts import clock
from accounts.clock import SimulatedClock
from accounts.models import Organization
from accounts.tenancy import tenant
from bots import tasks
from bots.models import Bot, Post, Schedule
from bots.services import bots as services
from bots.services import posts, scheduling
from bots.states import IllegalTransition
from tests.factories import World, make_bot, make_post, make_schedule

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)  # a Monday


@pytest.fixture
def time() -> Iterator[SimulatedClock]:
    with clock.simulated(START) as running:
        yield running


@pytest.fixture
def bot(world: World, time: SimulatedClock) -> Iterator[Bot]:
    with tenant(world.acme.pk):
        yield make_bot()


def _hourly(bot: Bot, **rule: Any) -> Schedule:
    return services.set_schedule(bot, kind="interval", interval_seconds=3600, **rule)


def _approved(bot: Bot, count: int) -> list[Post]:
    return [make_post(bot, "approved", approved_at=START - timedelta(hours=count - n)) for n in range(count)]


def _slots(found: list[Post]) -> list[str | None]:
    for post in found:
        post.refresh_from_db()
    return [f"{post.slot_utc:%dT%H:%M}" if post.slot_utc else None for post in found]


def _states(found: list[Post]) -> list[str]:
    return [Post.objects.values_list("state", flat=True).get(pk=post.pk) for post in found]


def test_posts_get_the_next_slots_in_the_order_of_their_approval(bot: Bot) -> None:
    found = _approved(bot, 3)
    schedule = _hourly(bot)
    assert scheduling.fill_slots(bot) == 3
    assert _slots(found) == ["04T09:00", "04T10:00", "04T11:00"]
    assert _states(found) == ["scheduled"] * 3
    assert {post.schedule for post in found} == {schedule}


def test_a_second_round_goes_on_after_the_first(bot: Bot) -> None:
    first = _approved(bot, 2)
    _hourly(bot)
    scheduling.fill_slots(bot)
    second = _approved(bot, 1)
    assert scheduling.fill_slots(bot) == 1
    assert _slots([*first, *second]) == ["04T09:00", "04T10:00", "04T11:00"]
    assert scheduling.fill_slots(bot) == 0


def test_a_slot_that_was_given_back_is_given_out_again(bot: Bot) -> None:
    found = _approved(bot, 3)
    _hourly(bot)
    scheduling.fill_slots(bot)
    posts.cancel_post(found[0].pk)
    late = _approved(bot, 1)
    scheduling.fill_slots(bot)
    assert _slots(late) == ["04T09:00"]


def test_slots_are_given_out_two_days_ahead_and_no_further(bot: Bot) -> None:
    found = _approved(bot, 5)
    services.set_schedule(bot, kind="cron", cron="0 9 * * *")
    assert scheduling.fill_slots(bot) == 2
    assert _slots(found) == ["04T09:00", "05T09:00", None, None, None]


def test_only_approved_posts_get_slots(bot: Bot) -> None:
    found = [make_post(bot, state) for state in ("pending_review", "blocked", "declined", "queued", "published")]
    _hourly(bot)
    assert scheduling.fill_slots(bot) == 0
    assert _states(found) == ["pending_review", "blocked", "declined", "queued", "published"]


def test_without_an_active_schedule_posts_wait(bot: Bot) -> None:
    found = _approved(bot, 1)
    make_schedule(bot, active=False)
    assert scheduling.fill_slots(bot) == 0
    assert scheduling.fill_all_slots() == 0
    assert _states(found) == ["approved"]


def test_several_schedules_of_a_bot_make_one_row_of_slots(bot: Bot) -> None:
    found = _approved(bot, 4)
    services.set_schedule(bot, kind="cron", cron="0 10,12 * * *")
    services.set_schedule(bot, kind="cron", cron="0 12,13 * * *")
    scheduling.fill_slots(bot)
    assert _slots(found) == ["04T10:00", "04T12:00", "04T13:00", "05T10:00"]


def test_the_daily_cap_holds_in_the_schedules_zone(bot: Bot) -> None:
    """Two a day in Kolkata: the day there ends at 18:30 UTC."""
    Bot.objects.update(posts_per_day=2)
    bot.refresh_from_db()
    found = _approved(bot, 5)
    services.set_schedule(bot, kind="cron", cron="30 * * * *", zone="Asia/Kolkata")
    scheduling.fill_slots(bot)
    assert _slots(found) == ["04T09:00", "04T10:00", "04T19:00", "04T20:00", "05T19:00"]


def test_the_daily_cap_counts_what_was_sent_today(bot: Bot, time: SimulatedClock) -> None:
    Bot.objects.update(posts_per_day=2)
    bot.refresh_from_db()
    make_post(bot, "published", slot_utc=START - timedelta(hours=1))
    make_post(bot, "queued", slot_utc=START)
    found = _approved(bot, 1)
    _hourly(bot)
    scheduling.fill_slots(bot)
    assert _slots(found) == ["05T00:00"]


def test_a_new_rule_gives_new_slots(bot: Bot) -> None:
    found = _approved(bot, 2)
    schedule = _hourly(bot)
    scheduling.fill_slots(bot)
    services.set_schedule(bot, schedule, kind="cron", cron="0 20 * * *")
    assert _states(found) == ["approved"] * 2
    scheduling.fill_slots(bot)
    assert _slots(found) == ["04T20:00", "05T20:00"]


def test_removing_a_schedule_lets_its_posts_wait(bot: Bot) -> None:
    found = _approved(bot, 1)
    schedule = _hourly(bot)
    scheduling.fill_slots(bot)
    services.remove_schedule(schedule)
    assert (_states(found), _slots(found)) == (["approved"], [None])


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"kind": "cron", "cron": "0 0 30 2 *"}, "cron"),
        ({"kind": "cron", "cron": "nonsense"}, "cron"),
        ({"kind": "timetable", "timetable": ["someday"]}, "timetable"),
        ({"kind": "interval", "interval_seconds": None}, "interval_seconds"),
        ({"kind": "interval", "interval_seconds": 0}, "interval_seconds"),
        ({"kind": "interval", "interval_seconds": 60, "zone": "Mars/Olympus"}, "zone"),
        ({"kind": "interval", "interval_seconds": 60, "zone": "../../etc/passwd"}, "zone"),
        ({"kind": "interval", "interval_seconds": 60, "misfire": "burst"}, "misfire"),
        ({"kind": "sometimes"}, "kind"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_at_its_field(bot: Bot, rule: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        services.set_schedule(bot, **rule)
    assert list(refused.value.message_dict) == [field]
    assert not Schedule.objects.exists()


# What is due


def test_a_post_is_queued_when_its_slot_comes_and_not_before(bot: Bot, time: SimulatedClock) -> None:
    found = _approved(bot, 2)
    _hourly(bot)
    scheduling.fill_slots(bot)
    time.advance(timedelta(minutes=59, seconds=59))
    assert scheduling.queue_due() == 0
    time.advance(timedelta(seconds=1))
    assert scheduling.queue_due() == 1
    assert _states(found) == ["queued", "scheduled"]
    assert scheduling.queue_due() == 0


def test_the_doorbell_is_rung_for_each_post_that_is_due(
    bot: Bot, time: SimulatedClock, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[Any] = []
    monkeypatch.setattr("accounts.doorbell.current_app.send_task", lambda task, args, **_: rung.append((task, args)))
    (post,) = _approved(bot, 1)
    _hourly(bot)
    scheduling.fill_slots(bot)
    time.advance(timedelta(hours=1))
    with django_capture_on_commit_callbacks(execute=True):
        tasks.publish_due()
    assert rung == [("bots.tasks.deliver_posts", [str(post.organization_id), str(post.pk)])]


@pytest.mark.parametrize("who", ["bot", "organization"])
def test_nothing_is_queued_while_paused(bot: Bot, time: SimulatedClock, who: str) -> None:
    found = _approved(bot, 1)
    _hourly(bot)
    scheduling.fill_slots(bot)
    if who == "bot":
        services.pause_bot(bot)
    else:
        Organization.objects.update(paused_at=START)
    time.advance(timedelta(hours=1))
    assert scheduling.queue_due() == 0
    assert _states(found) == ["scheduled"]


def _sleep_through(bot: Bot, time: SimulatedClock, hours: float, **rule: Any) -> list[Post]:
    found = _approved(bot, 6)
    _hourly(bot, **rule)
    scheduling.fill_slots(bot)
    time.advance(timedelta(hours=hours))
    return found


def test_after_a_long_sleep_one_post_is_sent_late_and_the_others_take_later_slots(
    bot: Bot, time: SimulatedClock
) -> None:
    found = _sleep_through(bot, time, 5.5, misfire="late", misfire_minutes=60)
    assert scheduling.queue_due() == 1
    assert _states(found) == ["approved"] * 4 + ["queued", "scheduled"]
    assert scheduling.queue_due() == 0
    scheduling.fill_slots(bot)
    assert _slots(found[:4]) == ["04T15:00", "04T16:00", "04T17:00", "04T18:00"]


def test_what_is_too_late_is_not_sent(bot: Bot, time: SimulatedClock) -> None:
    found = _sleep_through(bot, time, 5.5, misfire="late", misfire_minutes=20)
    assert scheduling.queue_due() == 0
    assert _states(found) == ["approved"] * 5 + ["scheduled"]


def test_a_schedule_that_skips_sends_nothing_late(bot: Bot, time: SimulatedClock) -> None:
    found = _sleep_through(bot, time, 5.5, misfire="skip")
    assert scheduling.queue_due() == 0
    assert _states(found) == ["approved"] * 5 + ["scheduled"]


def test_a_slot_that_is_due_right_now_is_not_lost_to_the_missed_ones(bot: Bot, time: SimulatedClock) -> None:
    found = _sleep_through(bot, time, 6, misfire="skip")
    assert scheduling.queue_due() == 1
    assert _states(found) == ["approved"] * 5 + ["queued"]


def test_a_bot_that_was_paused_does_not_catch_up(bot: Bot, time: SimulatedClock) -> None:
    found = _approved(bot, 4)
    _hourly(bot, misfire="skip")
    scheduling.fill_slots(bot)
    services.pause_bot(bot)
    time.advance(timedelta(hours=3, minutes=30))
    services.resume_bot(bot)
    assert scheduling.queue_due() == 0
    assert _states(found) == ["approved"] * 3 + ["scheduled"]


def test_publish_now_is_due_at_once(bot: Bot) -> None:
    found = _approved(bot, 2)
    for post in found:  # at the same moment
        scheduling.publish_now(str(post.pk))
    assert scheduling.queue_due() >= 1
    assert _states(found)[0] == "queued"


@pytest.mark.parametrize("state", ["pending_review", "declined", "published", "sending", "needs_human"])
def test_publish_now_is_for_approved_posts(bot: Bot, state: str) -> None:
    with pytest.raises(IllegalTransition):
        scheduling.publish_now(str(make_post(bot, state).pk))


def test_every_organization_gets_its_slots(world: World, bot: Bot, time: SimulatedClock) -> None:
    mine = _approved(bot, 1)
    _hourly(bot)
    with tenant(world.globex.pk):
        other = make_bot()
        theirs = _approved(other, 1)
        _hourly(other)
    tasks.fill_slots()
    time.advance(timedelta(hours=1))
    assert scheduling.queue_due() == 2
    assert _states(mine) == ["queued"]
    with tenant(world.globex.pk):
        assert _states(theirs) == ["queued"]
