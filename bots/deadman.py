"""The deadman timer of a publisher: a process that was frozen between its intent and its answer dies as it wakes,
instead of sending late.

SIGALRM keeps its default, which ends the process without asking Python: the timer also ends one that hangs in C code.
The worker's pool starts another process, and the janitor finds the row. It needs a pool of one process per publisher,
so only the processes of a prefork worker that called `enable` are armed; elsewhere (a rehearsal, a test) a publisher
has no timer.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 30.0

_enabled = False


class DeadmanError(RuntimeError):
    """The timer cannot be armed here, so nothing may be sent from here."""


def enable() -> None:
    """Arm every publication of this process, and of those that are forked from it. Raises DeadmanError when something
    else uses SIGALRM.
    """
    global _enabled
    if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        raise DeadmanError("Something handles SIGALRM here: a frozen publisher would not die.")
    _enabled = True


@contextmanager
def armed() -> Iterator[None]:
    """Within the block, the process dies after SECONDS, wherever it is. Raises DeadmanError in another thread than the
    main one.
    """
    if not _enabled:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise DeadmanError("A publisher must be a process of its own: start the worker with --pool=prefork.")
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
