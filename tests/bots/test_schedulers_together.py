"""Two schedulers at once, as when beat rings while the last round is still under way: everything is done once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts import clock
from accounts.tenancy import tenant
from bots.models import Post
from bots.services import scheduling
from tests.factories import World, make_bot, make_post, make_schedule, make_world

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


def test_the_database_gives_a_slot_once(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        make_post(bot, "scheduled", slot_utc=START)
        with pytest.raises(IntegrityError, match="post_slot_once"), transaction.atomic():
            make_post(bot, "scheduled", slot_utc=START)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["fill_all_slots", "queue_due"])
def test_two_schedulers_at_once_do_everything_once(what: str) -> None:
    world = make_world()
    made: list[Post] = []
    with tenant(world.acme.pk), clock.simulated(START):
        bot = make_bot()
        make_schedule(bot, interval_seconds=3600, created_at=START)
        made += [make_post(bot, "approved", approved_at=START) for _ in range(20)]
        if what == "queue_due":
            scheduling.fill_slots(bot)
    now = START if what == "fill_all_slots" else START + timedelta(hours=1)
    together, done, errors = threading.Barrier(2), [], []

    def work() -> None:
        try:
            with clock.simulated(now):
                connection.ensure_connection()
                together.wait(timeout=30)
                done.append(getattr(scheduling, what)())
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    with tenant(world.acme.pk):
        if what == "fill_all_slots":
            assert sum(done) == 20
            slots = Post.objects.filter(state="scheduled").values_list("slot_utc", flat=True)
            assert set(slots) == {START + timedelta(hours=n) for n in range(1, 21)}
        else:
            assert sum(done) == Post.objects.filter(state="queued").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_scheduler_passes_by_what_another_one_is_queueing() -> None:
    """While the first has not committed, the second neither waits for it nor takes the same posts."""
    world = make_world()
    with tenant(world.acme.pk):
        post = make_post(make_bot(), "scheduled", slot_utc=START)
    done: list[int] = []

    def second() -> None:
        try:
            with clock.simulated(START):
                done.append(scheduling.queue_due())
        finally:
            connection.close()

    with clock.simulated(START), transaction.atomic():
        assert scheduling.queue_due() == 1
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=10)
        assert done == [0]
    with tenant(world.acme.pk):
        assert Post.objects.get(pk=post.pk).state == "queued"


@pytest.mark.django_db(transaction=True)
def test_two_schedulers_of_one_bot_do_not_choose_the_same_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes one post; the second begins before the first has committed."""
    monkeypatch.setattr(scheduling, "BATCH", 1)
    world = make_world()
    with tenant(world.acme.pk), clock.simulated(START):
        bot = make_bot()
        make_schedule(bot, interval_seconds=3600, created_at=START)
        for _ in range(2):
            make_post(bot, "approved", approved_at=START)
    outcomes: list[Any] = []

    def second() -> None:
        try:
            with clock.simulated(START):
                outcomes.append(scheduling.fill_all_slots())
        except Exception as error:
            outcomes.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=second)
    with clock.simulated(START), transaction.atomic():
        outcomes.append(scheduling.fill_all_slots())
        thread.start()
        _wait_for_a_waiter()
    thread.join(timeout=30)
    assert outcomes == [1, 1]
    with tenant(world.acme.pk):
        assert set(Post.objects.values_list("slot_utc", flat=True)) == {START + timedelta(hours=n) for n in (1, 2)}


def _wait_for_a_waiter() -> None:
    """Until some other connection waits for a lock of this one."""
    deadline = monotonic() + 30
    with connection.cursor() as cursor:
        while monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone() != (0,):
                return
    raise AssertionError("nobody waits")
