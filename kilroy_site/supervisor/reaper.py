"""Stops process groups; run as a program, it outlives a supervisor that was killed and stops what that one left.

The program reads its standard input: "+ <process group> <signal number> <stage>" when a child starts, "- <process
group>" when one has ended. The supervisor holds the other end of the pipe, so the end of the input means that the
supervisor is gone, however it went. It is given the installation's lock as an open file, so that nobody starts anew
before it has finished.

Needs nothing but the standard library, to be small and quick to start.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

GRACE_SECONDS = (8.0, 20.0)
"""By stage. A training worker in the middle of a round is not waited for: rounds are resumed. A database is: its last
checkpoint may take long on a busy disk, and a killed one has to recover at the next start."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Group:
    """One child with all its descendants. Lower stages are stopped first: the servers outlive those who use them."""

    pgid: int
    stop_signal: int
    stage: int


def group_alive(pgid: int) -> bool:
    """Whether any process of the group exists (a zombie counts, unless it is this process's child and collected)."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def stop(groups: Iterable[Group], alive: Callable[[int], bool] = group_alive) -> None:
    """Ask every group to end, stage by stage, and kill those that have not within the grace of their stage."""
    remaining = sorted(groups, key=lambda group: group.stage)
    for stage in sorted({group.stage for group in remaining}):
        members = [group for group in remaining if group.stage == stage]
        for group in members:
            send(group.pgid, group.stop_signal)
        deadline = time.monotonic() + GRACE_SECONDS[stage]
        while any(alive(group.pgid) for group in members) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        for group in members:
            send(group.pgid, signal.SIGKILL)  # also whatever a child that ended in time left in its group


def send(pgid: int, number: int) -> None:
    """Signal a group that may be gone by now."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):
        return


def main() -> None:
    """Follow the supervisor's children; when it is gone, stop those that are left."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # this process ends when its work is done
    groups: dict[int, Group] = {}
    for line in sys.stdin:
        sign, *numbers = line.split()
        if sign == "+":
            pgid, number, stage = map(int, numbers)
            groups[pgid] = Group(pgid, number, stage)
        else:
            groups.pop(int(numbers[0]), None)
    stop(groups.values())


if __name__ == "__main__":
    main()
