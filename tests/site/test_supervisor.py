"""The supervisor, seen from outside: what it prints, its exit code, and which processes are left."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from kilroy_site.config import BASE_DIR
from kilroy_site.supervisor import state

SECONDS = 30.0


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


def running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Installation:
    """One supervisor in a process of its own."""

    def __init__(self, var: Path, port: int, behaviour: str) -> None:
        command = [sys.executable, "-m", "tests.site.fake_installation", str(var), str(port), behaviour]
        self.var = var
        self.process = subprocess.Popen(
            command, cwd=BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def await_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]

    def family(self) -> list[psutil.Process]:
        """The reaper, the children and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def finish(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, errors


@pytest.fixture
def start(tmp_path: Path, port: int) -> Iterator[Callable[..., Installation]]:
    started: list[Installation] = []

    def factory(behaviour: str = "sleep", *, at: int = port) -> Installation:
        started.append(Installation(tmp_path / "var", at, behaviour))
        return started[-1]

    yield factory
    for installation in started:
        if installation.process.poll() is None:
            installation.process.terminate()
            installation.finish()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_every_process_when_asked(start: Callable[..., Installation], number: signal.Signals) -> None:
    installation = start("parent")
    installation.await_ready()
    until(lambda: len(installation.family()) == 5, "reaper, redis, web, io and the child of io run")
    family = installation.family()
    installation.process.send_signal(number)
    assert installation.finish() == (0, "")
    assert [process for process in family if running(process)] == []
    assert state.read(installation.var) is None


def test_it_kills_a_child_that_does_not_listen(start: Callable[..., Installation]) -> None:
    installation = start("stubborn")
    installation.await_ready()
    family = installation.family()
    installation.process.terminate()
    assert installation.finish()[0] == 0
    assert [process for process in family if running(process)] == []


def test_a_child_that_dies_is_named_and_takes_everything_down(start: Callable[..., Installation]) -> None:
    installation = start("die")
    installation.await_ready()
    family = installation.family()
    code, errors = installation.finish()
    log = installation.var / "logs" / "io.log"
    assert code == 1
    assert errors.splitlines() == [
        f"The io worker ended with exit code 3; its log is {log}. Fix what the log names, then run `make up` again.",
        "the reason",
    ]
    assert [process for process in family if running(process)] == []


def test_a_killed_child_is_told_by_its_signal(start: Callable[..., Installation]) -> None:
    installation = start()
    installation.await_ready()
    written = state.read(installation.var)
    assert written is not None
    psutil.Process(next(process.pid for process in written.processes if process.name == "web")).kill()
    code, errors = installation.finish()
    assert code == 1
    assert errors.startswith("The web process was killed by SIGKILL; its log is ")


def test_a_taken_port_is_named_before_anything_starts(start: Callable[..., Installation], port: int) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        installation = start()
        code, errors = installation.finish()
    assert code == 1
    assert errors == (
        f"Port {port} on 127.0.0.1 is taken by another program: "
        f"choose another, for example `make up PORT={port + 1 if port < 65535 else 8001}`.\n"
    )
    assert not (installation.var / "redis").exists()


def test_a_second_one_over_the_same_data_is_refused(start: Callable[..., Installation], port: int) -> None:
    first = start()
    first.await_ready()
    second = start(at=port + 1 if port < 65535 else port - 1)
    code, errors = second.finish()
    assert code == 1
    assert errors.startswith(
        f"Kilroy already runs here, at http://127.0.0.1:{port} (process {first.process.pid}): stop that one first"
    )
    first.process.terminate()
    assert first.finish() == (0, "")


def test_a_killed_supervisor_leaves_no_process_and_does_not_block_the_next(start: Callable[..., Installation]) -> None:
    first = start("parent")
    first.await_ready()
    until(lambda: len(first.family()) == 5, "reaper, redis, web, io and the child of io run")
    family = first.family()
    first.process.kill()
    until(lambda: not any(running(process) for process in family), "every process of the killed supervisor has ended")
    second = start()
    second.await_ready()
    second.process.terminate()
    assert second.finish() == (0, "")


def test_it_recovers_after_everything_was_killed_at_once(start: Callable[..., Installation]) -> None:
    first = start()
    first.await_ready()
    family = first.family()
    first.process.kill()
    for process in family:
        process.kill()
    second = start()
    second.await_ready()
    second.process.terminate()
    assert second.finish() == (0, "")


def test_logs_of_earlier_starts_are_kept(start: Callable[..., Installation]) -> None:
    for _ in range(2):
        installation = start("die")
        installation.await_ready()
        installation.finish()
    logs = installation.var / "logs"
    assert (logs / "io.log").read_text() == (logs / "io.log.1").read_text() == "the reason\n"


def test_the_state_file_is_private_and_complete(start: Callable[..., Installation], port: int) -> None:
    installation = start()
    installation.await_ready()
    path = state.state_path(installation.var)
    written = json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert written["address"] == f"http://127.0.0.1:{port}"
    assert [process["name"] for process in written["processes"]] == ["redis", "web", "io"]
    assert written["supervisor"]["pid"] == installation.process.pid
