"""No window of a platform's limit holds more calls than it allows, and no day costs more than its budget."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts import clock
from accounts.clock import SimulatedClock
from accounts.tenancy import tenant
from faces import governor
from faces.contract import FaceError, Limit
from faces.models import BilledRead, Connection, Usage
from faces.registry import FACES
from tests.factories import World, make_connection
from tests.fake_platform import FakePlatform, StubKind, fake_face

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
LIMITS = (Limit("publish", 10, 900), Limit("publish", 2, 1), Limit("read", 5, 60))


@pytest.fixture
def time() -> Iterator[SimulatedClock]:
    with clock.simulated(START) as running:
        yield running


@pytest.fixture
def connection(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    face = fake_face(FakePlatform(), limits=LIMITS, batch=100)

    def read_price(self: object, remote_ids: Sequence[str]) -> int:
        return 5_000 * len(remote_ids)

    monkeypatch.setattr(face, "read_price", read_price)
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    with tenant(world.acme.pk):
        yield make_connection("fake")


def test_no_stretch_of_a_window_ever_holds_more_calls_than_allowed(
    connection: Connection, time: SimulatedClock
) -> None:
    sent: list[datetime] = []
    draw = random.Random(7)
    for _ in range(400):
        if governor.admit(connection, "publish") is None:
            sent.append(time.current)
        time.advance(timedelta(seconds=draw.choice([0, 0.3, 5, 60])))
    for limit in LIMITS[:2]:
        window = timedelta(seconds=limit.seconds)
        assert max(sum(at <= other < at + window for other in sent) for at in sent) <= limit.calls
    assert len(sent) > 0.7 * 10 * (time.current - START) / timedelta(seconds=990)  # and it is not far below what it may


def test_the_moment_it_names_is_one_at_which_the_call_is_admitted(connection: Connection, time: SimulatedClock) -> None:
    while (wait := governor.admit(connection, "publish")) is None or wait.until - time.current < timedelta(seconds=5):
        time.advance(timedelta(seconds=1))
    assert "10 calls in 900 seconds" in wait.reason
    time.advance(wait.until - time.current)
    assert governor.admit(connection, "publish") is None


def test_operations_and_connections_have_limits_of_their_own(connection: Connection, time: SimulatedClock) -> None:
    for _ in range(2):
        assert governor.admit(connection, "publish") is None
    assert governor.admit(connection, "publish") is not None
    assert governor.admit(connection, "read", calls=5) is None
    assert governor.admit(connection, "read") is not None
    assert governor.admit(make_connection("fake"), "publish") is None


def test_what_is_refused_is_not_counted(connection: Connection, time: SimulatedClock) -> None:
    connection.daily_budget = Decimal("0.02")
    connection.save()
    wait = governor.admit(connection, "publish", microdollars=20_001)
    assert wait is not None
    assert wait.until == datetime(2026, 5, 5, tzinfo=UTC)
    assert "of today's budget $0.020 is left" in wait.reason
    assert not Usage.objects.exists()
    assert governor.admit(connection, "publish", microdollars=20_000) is None
    assert governor.budget_left(connection) == 0
    assert governor.calls_today(connection) == {"publish": 1}
    assert governor.admit(connection, "read") is None  # what costs nothing is no matter of budgets
    time.advance(timedelta(hours=16))
    assert governor.budget_left(connection) == 20_000
    assert governor.admit(connection, "publish", microdollars=20_000) is None


def test_the_platforms_word_comes_before_the_limits(connection: Connection, time: SimulatedClock) -> None:
    governor.told_to_wait(connection, "publish", FaceError("slow down", permanent=False, retry_after=3600))
    wait = governor.admit(connection, "publish")
    assert wait is not None
    assert wait.until == START + timedelta(hours=1)
    assert "asked us to wait until 09:00 UTC" in wait.reason
    assert governor.admit(connection, "read") is None
    time.advance(timedelta(hours=1))
    assert governor.admit(connection, "publish") is None


def test_a_call_larger_than_a_limit_still_comes_through_when_nothing_else_was_sent(
    connection: Connection, time: SimulatedClock
) -> None:
    assert governor.admit(connection, "read", calls=9) is None
    assert governor.admit(connection, "read") is not None


def test_a_post_is_billed_once_a_day(connection: Connection, time: SimulatedClock) -> None:
    connection.daily_budget = Decimal("0.012")  # two readings
    connection.save()
    assert governor.affordable(connection, ["a", "b", "c"]) == ["a", "b"]
    assert governor.affordable(connection, ["a", "b", "c"], reserve=5_000) == ["a"]
    price = governor.reading_price(connection, ["a", "b"])
    assert governor.admit(connection, "read", microdollars=price) is None
    governor.book_reading(connection, ["a", "b"])
    assert governor.reading_price(connection, ["a", "b"]) == 0
    assert governor.affordable(connection, ["c", "b", "a"]) == ["b", "a"]
    time.advance(timedelta(hours=16))
    assert governor.reading_price(connection, ["a"]) == 5_000
    governor.book_reading(connection, ["a"])
    assert [str(row.day) for row in BilledRead.objects.all()] == ["2026-05-05"]


def test_posts_that_nobody_knows_yet_are_read_only_while_the_budget_lasts_and_paid_for_once(
    connection: Connection, time: SimulatedClock
) -> None:
    connection.daily_budget = Decimal("0.030")
    connection.save()
    assert governor.wait_to_read(connection, 3) is None
    governor.pay(connection, ["a", "b", "c"])
    governor.pay(connection, ["c", "d"])
    assert governor.spent_today(connection) == 20_000
    wait = governor.wait_to_read(connection, 3)
    assert wait is not None
    assert (wait.until, wait.reason) == (
        datetime(2026, 5, 5, tzinfo=UTC),
        "This would cost $0.015, and of today's budget $0.010 is left.",
    )
    assert governor.wait_to_read(connection, 2) is None
    assert governor.wait_to_read(connection, 2, reserve=1) is not None
    assert governor.calls_today(connection) == {"read": 2}


def test_counts_that_nobody_asks_for_are_forgotten(connection: Connection, time: SimulatedClock) -> None:
    governor.admit(connection, "publish")
    time.advance(timedelta(days=30))
    assert governor.forget_old_usage() == 0
    time.advance(timedelta(days=3))
    assert governor.forget_old_usage() == 3
