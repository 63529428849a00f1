"""What the embedded servers share: start, wait for the first answer, stop, and tidy up after a kill.

Both servers listen on sockets inside the data folder only. There is no port to collide with, no password to keep, and
the folder's mode decides who may connect. Two checkouts have two data folders and so never meet.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import psutil

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.03
LONGEST_SOCKET_PATH = 100  # the kernel's limit is 107 bytes on Linux and 103 on macOS
LONGEST_SOCKET_NAME = "/postgres/.s.PGSQL.5432.lock"


class ServerError(Exception):
    """An embedded server cannot be started; the message says why and what to do."""


def socket_folder(var: Path) -> Path:
    """Where the sockets of the data folder `var` lie: inside it, or in /tmp when its path is too long for a socket."""
    inside = var / "run"
    if len(os.fsencode(f"{inside}{LONGEST_SOCKET_NAME}")) <= LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(os.fsencode(var)).hexdigest()[:16]
    return Path("/tmp") / f"kilroy-{os.geteuid()}-{digest}"  # nosec B108 # make_private looks whose it is


def make_private(folder: Path, uid: int | None = None) -> Path:
    """Create `folder` (mode 700), or check that an existing one is ours. In /tmp anybody may have made it before us."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.lstat().st_uid
    if folder.is_symlink() or owner not in {os.geteuid(), uid}:
        raise ServerError(f"{folder} belongs to another user (uid {owner}): remove it, or name another data folder.")
    if uid is not None and owner != uid:
        os.chown(folder, uid, -1)
    folder.chmod(0o700)
    return folder


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def await_end(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until all have ended, at most `seconds`; returns those that have not. A zombie has ended: in a container
    nobody may ever collect it."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return alive


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class EmbeddedServer(ABC):
    """One server over one data folder. Whoever starts it holds the folder's lock (`kilroy_site.embedded.lock`)."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    program: ClassVar[str]

    def __init__(self, var: Path, options: Sequence[str] = ()) -> None:
        self.var = var
        self.data = var / self.name
        self.options = tuple(options)

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that runs the server in the foreground."""

    @abstractmethod
    def prepare(self) -> None:
        """Create the folders, and the data when there is none."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server answers a query now."""

    def settle(self) -> None:  # noqa: B027 - most servers need nothing here
        """Done once after the first answer of a start."""

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Start the server as a child in a session of its own and wait until it answers.

        Raises ServerError with the end of the log when it dies or does not answer within START_SECONDS.
        """
        self.var.mkdir(parents=True, exist_ok=True)
        self.stop_leftovers()
        self.prepare()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(  # nosec B603 # a list of our own words, no shell
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            self._await_answer(process, log)
            self.settle()
        except BaseException:
            self.stop(process)
            raise
        return process

    def _await_answer(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if process.poll() is not None:
                raise ServerError(f"{self.name} ended with exit code {process.returncode} ({log}):\n{tail(log)}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} did not answer within {START_SECONDS:.0f} s ({log}):\n{tail(log)}")
            time.sleep(POLL_SECONDS)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Stop a server that `start` returned; kill it when it takes longer than STOP_SECONDS."""
        if process.poll() is None:
            process.send_signal(self.stop_signal)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def leftovers(self) -> list[psutil.Process]:
        """Processes of this server that work in this data folder. Pid files lie after a kill; working folders do
        not."""
        found = []
        for process in psutil.process_iter(["name"]):
            if self.program in (process.info["name"] or ""):
                with contextlib.suppress(psutil.Error):
                    if process.cwd() == str(self.data):
                        found.append(process)
        return found

    def stop_leftovers(self) -> None:
        """End what an earlier start left running, its supervisor having been killed."""
        leftovers = self.leftovers()
        for process in leftovers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(self.stop_signal)
        for process in await_end(leftovers, STOP_SECONDS):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await_end(leftovers, STOP_SECONDS)
