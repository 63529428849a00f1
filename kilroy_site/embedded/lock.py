"""One owner per data folder: a lock that the kernel drops when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class HeldError(Exception):
    """Another process holds the lock; `pid` is what it wrote there, if anything."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"{path} is held by process {pid or '(unknown)'}")
        self.pid = pid


class Lock:
    """An exclusive lock on a file that holds its owner's pid. The descriptor may be handed to a child, which then
    shares the lock until both have closed it."""

    def __init__(self, path: Path) -> None:
        """Take the lock or raise HeldError at once."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(self.descriptor, 32).decode(errors="replace").strip()
            os.close(self.descriptor)
            raise HeldError(path, int(text) if text.isdigit() else None) from None
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give this process's share of the lock back."""
        os.close(self.descriptor)


def lock_path(var: Path) -> Path:
    """The lock of whoever runs the embedded servers of `var`."""
    return var / "up.lock"
