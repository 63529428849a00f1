"""The calendar: days of a zone around clock changes, busy days, free slots, and what a move may and may not do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts import audit, clock
from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots import calendar
from bots.models import Bot, Post
from bots.services import moving
from bots.states import IllegalTransition
from tests.factories import World, client_of, make_bot, make_post, make_schedule

START = datetime(2026, 3, 25, 12, tzinfo=UTC)
"""The Wednesday before Warsaw's clocks go forward, on Sunday the 29th at 02:00."""
WARSAW = ZoneInfo("Europe/Warsaw")


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """For requests, too."""
    monkeypatch.setattr(clock, "now", lambda: START)


@pytest.fixture
def bot(world: World) -> Iterator[Bot]:
    with tenant(world.acme.pk), audit.acting(audit.Actor("alice@kilroy.example", world.alice)):
        yield make_bot(name="Writer")


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


def warsaw(*parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=WARSAW, fold=fold).astimezone(UTC)  # type: ignore[misc,arg-type]  # the numbers of a date


def scheduled(bot: Bot, at: datetime, **fields: Any) -> Post:
    return make_post(bot, "scheduled", slot_utc=at, **fields)


def address(bot: Bot, page: str = "") -> str:
    return f"/o/acme/bots/{bot.pk}/calendar/{page}"


def days(bot: Bot, first: date, count: int = 1, zone: ZoneInfo = WARSAW, **how: int) -> list[calendar.Day]:
    return calendar.days_of(bot, first, count, zone, **{"shown": 10, "free": 10} | how)


def test_days_have_the_hours_that_the_clocks_give_them(bot: Bot) -> None:
    spring, autumn = days(bot, date(2026, 3, 29))[0], days(bot, date(2026, 10, 25))[0]
    assert (spring.ends - spring.begins, autumn.ends - autumn.begins) == (timedelta(hours=23), timedelta(hours=25))


def test_a_day_without_midnight_begins_at_its_first_instant(bot: Bot) -> None:
    beirut = days(bot, date(2026, 3, 29), zone=ZoneInfo("Asia/Beirut"))[0]
    assert beirut.begins.astimezone(ZoneInfo("Asia/Beirut")).time() == time(1)


def test_posts_stand_on_the_local_day(bot: Bot) -> None:
    late = scheduled(bot, warsaw(2026, 3, 29, 23, 30))
    early = scheduled(bot, warsaw(2026, 3, 30, 0, 30))
    twice = [scheduled(bot, warsaw(2026, 10, 25, 2, 30, fold=fold)) for fold in (0, 1)]
    sunday, monday = days(bot, date(2026, 3, 29), 2)
    assert [entry.post for entry in sunday.entries] == [late]
    assert [entry.post for entry in monday.entries] == [early]
    assert sunday.entries[0].at.hour == 23
    assert [entry.post for entry in days(bot, date(2026, 10, 25))[0].entries] == twice


def test_a_busy_day_says_how_many_more(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "MOST", 20)
    for minute in range(13):
        make_post(bot, "published", published_at=START - timedelta(days=2, minutes=minute))
    busy = days(bot, date(2026, 3, 23), shown=4)[0]
    assert (len(busy.entries), busy.more, busy.capped) == (4, 9, False)
    for minute in range(30):
        make_post(bot, "published", published_at=START - timedelta(days=2, hours=1, minutes=minute))
    busy = days(bot, date(2026, 3, 23), shown=4)[0]
    assert (len(busy.entries), busy.more, busy.capped) == (4, 16, True)


def test_what_is_stuck_at_a_passed_slot_is_seen(bot: Bot) -> None:
    stuck = [
        make_post(bot, state, slot_utc=START - timedelta(days=2, minutes=n))
        for n, state in enumerate(["needs_human", "scheduled"])
    ]
    make_post(bot, "published", published_at=START, slot_utc=START - timedelta(days=2, minutes=9))
    assert [entry.post for entry in days(bot, date(2026, 3, 23))[0].entries] == stuck[::-1]


def test_free_slots_are_those_that_no_post_has(bot: Bot) -> None:
    make_schedule(bot, cron="30 2,9 * * *", zone="Europe/Warsaw", quiet_from=time(20), quiet_until=time(1))
    scheduled(bot, warsaw(2026, 3, 28, 9, 30))
    found = {day.date.day: [f"{slot:%H:%M}" for slot in day.free] for day in days(bot, date(2026, 3, 24), 6)}
    # Today's are past; on the 29th there is no 02:30, and the rule's first valid instant after it is 03:00.
    assert found == {
        24: [],
        25: [],
        26: ["02:30", "09:30"],
        27: ["02:30", "09:30"],
        28: ["02:30"],
        29: ["03:00", "09:30"],
    }


def test_a_full_day_has_no_free_slots(bot: Bot) -> None:
    make_schedule(bot, cron="0 * * * *", zone="Europe/Warsaw")
    Bot.objects.filter(pk=bot.pk).update(posts_per_day=2)
    bot.refresh_from_db()
    scheduled(bot, warsaw(2026, 3, 27, 7, 13))
    friday, saturday = days(bot, date(2026, 3, 27), 2)
    assert (len(friday.free), len(saturday.free)) == (1, 2)


def test_a_schedule_of_seconds_is_not_followed_through_its_quiet_hours(bot: Bot) -> None:
    make_schedule(bot, interval_seconds=1, quiet_from=time(0), quiet_until=time(23), zone="UTC")
    found = days(bot, date(2026, 3, 26), 7, zone=ZoneInfo("UTC"), free=3)
    assert [[f"{slot:%H:%M:%S}" for slot in day.free] for day in found] == [["23:00:00", "23:00:01", "23:00:02"]] * 7


def test_a_move_keeps_the_wall_clock_over_a_clock_change(bot: Bot, alice: Client) -> None:
    post = scheduled(bot, warsaw(2026, 3, 27, 9))
    form = {"post": post.pk, "seen": post.slot_utc.isoformat(), "at": "2026-03-30T09:00:00", "zone": "Europe/Warsaw"}  # type: ignore[union-attr]  # it is scheduled
    assert alice.post(address(bot, "move/"), form).status_code == 302
    post.refresh_from_db()
    assert post.slot_utc == datetime(2026, 3, 30, 7, tzinfo=UTC)


def test_a_move_is_audited_and_can_be_undone_as_it_was(bot: Bot, alice: Client) -> None:
    schedule = make_schedule(bot, cron="0 9 * * *", zone="Europe/Warsaw")
    post = scheduled(bot, warsaw(2026, 3, 27, 9), schedule=schedule)
    seen = post.slot_utc.isoformat()  # type: ignore[union-attr]  # it is scheduled
    alice.post(address(bot, "move/"), {"post": post.pk, "seen": seen, "at": "2026-03-28T11:00", "zone": "UTC"})
    head: Any = {"HX-Request": "true", "HX-Target": "bot-head"}  # another part of the page, drawn anew meanwhile
    assert alice.get(address(bot), headers=head).context["moved"] is None
    moved = alice.get(address(bot)).context["moved"]
    assert moved["words"] == "Sat 28 Mar, 12:00 (Europe/Warsaw)"
    entry = AuditEntry.objects.get(action="post.schedule")
    assert (entry.before["slot_utc"], entry.after["slot_utc"]) == (seen, "2026-03-28T11:00:00+00:00")
    assert alice.get(address(bot)).context["moved"] is None
    alice.post(address(bot, "undo/"), moved)
    post.refresh_from_db()
    assert (post.slot_utc, post.schedule) == (warsaw(2026, 3, 27, 9), schedule)


def test_undoing_takes_a_slot_back_that_there_was_none_before(bot: Bot) -> None:
    post = make_post(bot, "approved")
    moved = moving.move_post(bot, post.pk, START + timedelta(hours=2), None)
    back = moving.move_back(bot, post.pk, moved, moved.post.slot_utc)
    assert (back.state, back.slot_utc) == ("approved", None)


def test_a_place_that_was_taken_meanwhile_cannot_be_had_back(bot: Bot) -> None:
    post = scheduled(bot, START + timedelta(hours=1))
    moved = moving.move_post(bot, post.pk, START + timedelta(hours=2), post.slot_utc)
    scheduled(bot, START + timedelta(hours=1))
    with pytest.raises(ValidationError, match="Another post has the slot"):
        moving.move_back(bot, post.pk, moved, moved.post.slot_utc)


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (START - timedelta(minutes=1), "between now and"),
        (START + timedelta(days=400), "between now and"),
        (warsaw(2026, 3, 26, 23), "within the schedule's quiet hours"),
        (warsaw(2026, 3, 27, 10), "Another post has Fri 27 Mar, 10:00 (Europe/Warsaw)"),
        (warsaw(2026, 3, 27, 12), "Friday 27 March has 1 post already"),
    ],
)
def test_an_illegal_move_says_why_and_moves_nothing(bot: Bot, alice: Client, at: datetime, why: str) -> None:
    make_schedule(bot, cron="0 9 * * *", zone="Europe/Warsaw", quiet_from=time(22), quiet_until=time(7))
    Bot.objects.filter(pk=bot.pk).update(posts_per_day=1)
    scheduled(bot, warsaw(2026, 3, 27, 10))
    post = scheduled(bot, warsaw(2026, 3, 28, 9))
    seen = post.slot_utc.isoformat()  # type: ignore[union-attr]  # it is scheduled
    form = {"post": post.pk, "seen": seen, "at": at.isoformat(), "form": "1"}
    answer = alice.post(address(bot, "move/"), form)
    assert answer.status_code == 400
    assert why in answer.context["problem"]
    post.refresh_from_db()
    assert post.slot_utc == warsaw(2026, 3, 28, 9)


def test_who_moves_what_somebody_moved_meanwhile_is_told(bot: Bot) -> None:
    post = scheduled(bot, START + timedelta(hours=1))
    moving.move_post(bot, post.pk, START + timedelta(hours=2), post.slot_utc)
    with pytest.raises(ValidationError, match=r"moved meanwhile. It is planned for Wed 25 Mar, 14:00 \(UTC\) now"):
        moving.move_post(bot, post.pk, START + timedelta(hours=3), post.slot_utc)


def test_only_what_waits_to_be_sent_moves(bot: Bot) -> None:
    for state in ("published", "pending_review"):
        with pytest.raises(IllegalTransition):
            moving.move_post(bot, make_post(bot, state).pk, START + timedelta(hours=2), None)
    answer = make_post(bot, "approved", kind="reply", reply_to="x")
    with pytest.raises(ValidationError, match="An answer"):
        moving.move_post(bot, answer.pk, START + timedelta(hours=2), None)
    with pytest.raises(ValidationError, match="another bot's"):
        moving.move_post(make_bot(), make_post(bot, "approved").pk, START + timedelta(hours=2), None)


@pytest.mark.parametrize("view", ["month", "week", "list"])
def test_times_are_those_of_the_zone_that_the_page_names(bot: Bot, alice: Client, view: str) -> None:
    make_schedule(bot, cron="0 9 * * *", zone="Europe/Warsaw")
    post = scheduled(bot, warsaw(2026, 3, 27, 0, 30))
    page = alice.get(address(bot) + f"?view={view}").content.decode()
    assert 'data-zone="Europe/Warsaw">00:30</time>' in page
    assert 'data-zone="Europe/Warsaw">09:00</time> free' in page
    assert 'data-local="2026-03-27T00:30:00"' in page
    form = alice.get(address(bot, "move/"), {"post": post.pk, "zone": "America/New_York"}).content
    assert b"Thu 26 Mar 2026, 19:30" in form


@pytest.mark.parametrize("view", ["month", "week", "list"])
def test_the_page_asks_as_much_of_many_posts_as_of_few(
    bot: Bot, alice: Client, view: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_schedule(bot, cron="0 9 * * *", zone="Europe/Warsaw")
    for number in range(40):
        make_post(bot, "published", published_at=START - timedelta(hours=number))
        scheduled(bot, START + timedelta(hours=number + 1))
    with django_assert_max_num_queries(15):
        answer = alice.get(address(bot) + f"?view={view}&zone=America/New_York")
    assert answer.status_code == 200
    assert b"Times are in America/New_York" in answer.content
    assert b"The schedule goes by Europe/Warsaw" in answer.content


def test_nonsense_in_the_address_shows_the_present(bot: Bot, alice: Client) -> None:
    for query in ("?on=9999-99-99", "?on=0001-01-01&view=x&zone=Mars", "?view=month&on=2099-12-31", "?on=2100-01-02"):
        assert alice.get(address(bot) + query).status_code == 200
    assert alice.get(address(bot, "move/"), {"post": "x"}).status_code == 404
    assert alice.get(address(bot, "move/")).headers["Location"] == address(bot)
    post = make_post(bot, "approved")
    for at in ("", "tomorrow", "9999-12-31T23:59", "0001-01-01T00:00"):
        assert alice.post(address(bot, "move/"), {"post": post.pk, "at": at, "form": "1"}).status_code == 400


def test_looking_is_for_all_and_moving_is_not(bot: Bot, world: World) -> None:
    post = scheduled(bot, START + timedelta(hours=1))
    bob = client_of(world.bob)
    page = bob.get(address(bot))
    assert page.status_code == 200
    assert b"data-movable" not in page.content
    form = {"post": post.pk, "at": "2026-03-26T10:00", "seen": post.slot_utc.isoformat()}  # type: ignore[union-attr]  # it is scheduled
    assert bob.post(address(bot, "move/"), form).status_code == 403


def test_the_way_back_is_to_the_calendar_only(bot: Bot, alice: Client) -> None:
    post = make_post(bot, "approved")
    answer = alice.post(address(bot, "undo/"), {"post": post.pk, "at": "x", "back": "https://evil.example"})
    assert answer["Location"] == address(bot)
