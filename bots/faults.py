"""Named points at which a process kills itself, for campaigns that prove that nothing is lost and nothing is doubled.

`KILROY_FAULTS=after_intent:0.05,before_book:0.1` (accepted together with KILROY_DEBUG only) makes a process that comes
to such a point send itself SIGKILL with that probability. Each firing first leaves its point's name as a line in
`settings.FAULTS_FILE` (`faults.log` in the data folder), so that a campaign can count them. Without the variable a
point does nothing.

| points | where |
|---|---|
| before_claim, after_claim | a publisher takes a queued post |
| before_intent, after_intent | the intent to send is committed; between claim and intent nothing was sent |
| before_send, after_send | the platform is asked to publish |
| before_book, after_book | the outcome is committed |
| before_find, after_find, before_settle | the reconciler asks a platform for an unknown outcome, and books it |
| after_slot | slots were given out (committed) |
| after_queue | due posts were queued (committed), and no doorbell has rung yet |
"""

from __future__ import annotations

import os
import random
import signal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

POINTS = frozenset(
    {
        "before_claim",
        "after_claim",
        "before_intent",
        "after_intent",
        "before_send",
        "after_send",
        "before_book",
        "after_book",
        "before_find",
        "after_find",
        "before_settle",
        "after_slot",
        "after_queue",
    }
)


def check() -> None:
    """Raises ImproperlyConfigured when KILROY_FAULTS names a point that there is not."""
    if unknown := sorted(set(settings.FAULTS) - POINTS):
        raise ImproperlyConfigured(f"KILROY_FAULTS: there is no point “{unknown[0]}”. Known: {sorted(POINTS)}.")


def point(name: str) -> None:
    """Die here, if the campaign's dice say so."""
    chance = settings.FAULTS.get(name, 0.0)
    if chance and random.random() < chance:  # nosec B311 # for tests of recovery
        _leave_a_line(name)
        os.kill(os.getpid(), signal.SIGKILL)


def _leave_a_line(name: str) -> None:
    # One write of a few bytes in append mode: lines of several processes do not mix.
    file = os.open(settings.FAULTS_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{name}\n".encode())
    os.fsync(file)
    os.close(file)
