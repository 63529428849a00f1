"""Signs of life of workers and beat: files that a thread, or the clock's own tick, touches.

A training worker is one process that answers nobody while it computes, so a ping cannot tell "busy" from "stuck". A
thread of it can: it runs as long as the process makes any progress. Workers load this module by `--include`.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from celery.beat import PersistentScheduler
from celery.signals import worker_ready, worker_shutting_down
from django.conf import settings

INTERVAL_SECONDS = 2.0
FRESH_SECONDS = 20.0
"""A heartbeat older than this is no sign of life. A long step of training may hold the interpreter for seconds."""

_ending = threading.Event()


def heartbeat_path(var: Path, name: str) -> Path:
    """The file that the process `name` touches."""
    return var / "run" / f"{name}.heartbeat"


def beat(path: Path) -> None:
    """Leave a sign of life of this process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()))


def is_fresh(path: Path, pid: int) -> bool:
    """Whether the process `pid` left a sign of life lately."""
    try:
        return path.read_text() == str(pid) and time.time() - path.stat().st_mtime < FRESH_SECONDS
    except OSError:
        return False


@worker_ready.connect
def start_beating(sender: Any = None, **_: Any) -> None:
    """Begin when the worker takes work."""
    path = heartbeat_path(settings.VAR, str(sender.hostname).partition("@")[0])
    threading.Thread(target=_beat_until_the_end, args=[path], name="heartbeat", daemon=True).start()


@worker_shutting_down.connect
def stop_beating(**_: Any) -> None:
    """End with the worker."""
    _ending.set()


def _beat_until_the_end(path: Path) -> None:
    while not _ending.is_set():
        beat(path)
        _ending.wait(INTERVAL_SECONDS)
    path.unlink(missing_ok=True)


class Scheduler(PersistentScheduler):
    """Celery's scheduler, which leaves a sign of life at every tick."""

    max_interval = INTERVAL_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.heartbeat = heartbeat_path(settings.VAR, "beat")
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Send what is due; returns the seconds until the next tick."""
        if time.time() - self._last_beat() >= INTERVAL_SECONDS:
            beat(self.heartbeat)
        return min(super().tick(*args, **kwargs), INTERVAL_SECONDS)

    def _last_beat(self) -> float:
        try:
            return self.heartbeat.stat().st_mtime
        except OSError:
            return 0.0
