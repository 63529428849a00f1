"""A publisher that was frozen dies as it wakes, instead of sending late. Real processes, really stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections
from django.utils import timezone

from accounts.tenancy import tenant
from bots import deadman, tasks
from bots.deadman import DeadmanError
from bots.models import Bot, Post
from bots.services import delivery, recovery
from faces import http
from faces.contract import Face
from tests.factories import World, make_bot, make_connection, make_post, make_world
from tests.fake_platform import FakePlatform

pytestmark = pytest.mark.django_db(transaction=True)
TIMER = 0.3


@pytest.fixture
def committed() -> World:
    return make_world()


@pytest.fixture
def bot(committed: World) -> Iterator[Bot]:
    with tenant(committed.acme.pk):
        yield make_bot(make_connection("fake"))


def _publisher(post: Post, frozen_at: str, sent: Path, platform: FakePlatform, *, with_timer: bool) -> int:
    """Fork a publisher that stops itself at a point of its way; wait until it stands still. Returns its pid."""
    connections.close_all()
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        return pid
    try:  # the child: nothing of it may return into pytest
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        deadman.SECONDS = TIMER
        if with_timer:
            deadman.enable()
        delivery.point = lambda name: os.kill(os.getpid(), signal.SIGSTOP) if name == frozen_at else None  # type: ignore[assignment]
        platform.on_publish = lambda *_: sent.write_text("sent")
        delivery.deliver_post(post.pk)
    finally:
        os._exit(0)


def _thaw(pid: int) -> int:
    """Let it stand still past its timer, then wake it. Returns the signal that ended it, 0 for none."""
    time.sleep(TIMER + 0.1)  # the timer is of real time
    os.kill(pid, signal.SIGCONT)
    _, status = os.waitpid(pid, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


@pytest.mark.parametrize("frozen_at", ["before_intent", "after_intent", "before_send"])
def test_a_publisher_that_was_frozen_does_not_send_when_it_wakes(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], tmp_path: Path, frozen_at: str
) -> None:
    post, sent = make_post(bot, "queued"), tmp_path / "sent"
    pid = _publisher(post, frozen_at, sent, platform, with_timer=True)
    assert (_thaw(pid), sent.exists()) == (signal.SIGALRM, False)
    post.refresh_from_db()
    assert post.state == ("leased" if frozen_at == "before_intent" else "sending")
    Post.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    recovery.recover_posts()
    post.refresh_from_db()
    assert post.state == ("queued" if frozen_at == "before_intent" else "unknown")


def test_without_the_timer_it_would_have_sent_late(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], tmp_path: Path
) -> None:
    """The control: what the timer is for does happen without it."""
    post, sent = make_post(bot, "queued"), tmp_path / "sent"
    pid = _publisher(post, "before_send", sent, platform, with_timer=False)
    assert (_thaw(pid), sent.exists()) == (0, True)


@pytest.fixture
def enabled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as a publisher; what pytest does with SIGALRM is put back."""
    monkeypatch.setattr(deadman, "_enabled", False)
    before, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    deadman.enable()
    yield
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, *timer)


@pytest.mark.usefixtures("enabled")
def test_the_timer_runs_from_before_the_intent_until_the_outcome_is_booked(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: dict[str, bool] = {}
    monkeypatch.setattr(
        delivery, "point", lambda name: left.update({name: signal.getitimer(signal.ITIMER_REAL)[0] > 0})
    )
    delivery.deliver_post(make_post(bot, "queued").pk)
    armed = {"before_intent", "after_intent", "before_send", "after_send", "before_book", "after_book"}
    assert {name for name, on in left.items() if on} == armed
    assert {name for name, on in left.items() if not on} == {"before_claim", "after_claim"}
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.usefixtures("enabled")
def test_nothing_is_sent_from_a_thread_of_a_publisher(
    committed: World, bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    post, refused = make_post(bot, "queued"), []

    def work() -> None:
        try:
            with tenant(committed.acme.pk), pytest.raises(DeadmanError, match="prefork"):
                delivery.deliver_post(post.pk)
            refused.append(True)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=30)
    assert (refused, platform.published) == ([True], [])


def test_a_publisher_is_refused_where_something_else_uses_the_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadman, "_enabled", False)
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    with pytest.raises(DeadmanError, match="SIGALRM"):
        deadman.enable()


def _worker(pool: str, *queues: str) -> Any:
    consumes = dict.fromkeys(queues)
    return SimpleNamespace(
        pool_cls=pool, app=SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=consumes)))
    )


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_worker_that_publishes_must_have_processes(pool: str) -> None:
    with pytest.raises(SystemExit, match="prefork"):
        tasks.prepare_publishers(_worker(pool, "io"))
    tasks.prepare_publishers(_worker("solo", "gpu"))


def test_a_worker_whose_times_do_not_follow_each_other_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery.check_times()
    monkeypatch.setattr(http, "TOTAL_SECONDS", 45.0)
    with pytest.raises(ImproperlyConfigured):
        delivery.check_times()
    with pytest.raises(SystemExit, match="must follow each other"):
        tasks.prepare_publishers(_worker("prefork", "io"))
