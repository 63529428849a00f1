"""`manage.py status`: what it tells, masked, and its exit codes."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from kilroy_site.supervisor import health, heartbeat, state
from kilroy_site.supervisor.state import ProcessState, State


def installation(*, supervisor: ProcessState | None = None, **changes: Any) -> State:
    me = ProcessState.of("supervisor", os.getpid())
    values: dict[str, Any] = {
        "address": "http://127.0.0.1:8000",
        "listens": "127.0.0.1:1",
        "database_url": settings.DATABASE_URL,
        "redis_url": settings.REDIS_URL,
        "supervisor": supervisor or me,
        "processes": tuple(ProcessState.of(name, os.getpid()) for name in ("web", "io", "training", "beat")),
    }
    return State(**{**values, **changes})


def status(*arguments: str) -> tuple[str, int]:
    words = io.StringIO()
    try:
        call_command("status", *arguments, stdout=words)
    except SystemExit as ended:
        return words.getvalue(), int(str(ended.code))
    return words.getvalue(), 0


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "CONFIG", type("Config", (), {"var": tmp_path})())
    return tmp_path


@pytest.fixture
def _well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "answers", lambda url: True)
    monkeypatch.setattr(health, "_ping", lambda: {"io@host": {"ok": "pong"}, "training@host": {"ok": "pong"}})


@pytest.mark.usefixtures("var")
def test_nothing_runs() -> None:
    assert status("--json") == ('{"running": false}\n', 1)
    assert status() == ("Kilroy does not run. Start it: make up\n", 1)


def test_a_state_of_a_dead_supervisor_counts_as_not_running(var: Path) -> None:
    state.write(var, installation(supervisor=ProcessState("supervisor", os.getpid(), started=1.0)))
    assert status("--json") == ('{"running": false}\n', 1)


@pytest.mark.usefixtures("_well")
def test_everything_is_well(var: Path) -> None:
    state.write(var, installation())
    heartbeat.beat(heartbeat.heartbeat_path(var, "beat"))
    words, code = status("--json")
    told = json.loads(words)
    assert code == 0
    assert (told["running"], told["healthy"], told["address"]) == (True, True, "http://127.0.0.1:8000")
    assert (told["database"], told["redis"]) == (settings.DATABASE_URL, settings.REDIS_URL)
    assert {line["name"]: (line["pid"], line["healthy"]) for line in told["processes"]} == {
        "supervisor": (os.getpid(), True),
        "postgres": (None, True),
        "redis": (None, True),
        "web": (os.getpid(), True),
        "io": (os.getpid(), True),
        "training": (os.getpid(), True),
        "beat": (os.getpid(), True),
    }


@pytest.mark.usefixtures("_well")
def test_a_worker_too_busy_to_answer_is_well_while_its_heart_beats(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_ping", dict)
    path = heartbeat.heartbeat_path(var, "training")
    heartbeat.beat(path)
    lines = {line.name: line for line in health.report(installation(), var)}
    assert (lines["training"].healthy, lines["training"].detail) == (True, "works (too busy to answer a ping)")
    assert (lines["io"].healthy, lines["io"].detail) == (False, "no sign of life")
    long_ago = time.time() - heartbeat.FRESH_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    lines = {line.name: line for line in health.report(installation(), var)}
    assert not lines["training"].healthy


def test_what_is_not_well_is_said_and_changes_the_exit_code(var: Path) -> None:
    gone = ProcessState("web", os.getpid(), started=1.0)
    running = installation(
        processes=(gone,),
        database_url="postgresql://u:hunter2@127.0.0.1:1/none",
        redis_url="redis://:hunter2@127.0.0.1:1",
    )
    state.write(var, running)
    words, code = status()
    assert code == 2
    assert "hunter2" not in words
    assert "postgresql://u:***@127.0.0.1:1/none" in words
    assert "redis://:***@127.0.0.1:1" in words
    lines = {line.split()[0]: line for line in words.splitlines()[4:]}
    assert lines["web"].split(maxsplit=2)[2] == "NOT OK  has ended"
    assert "NOT OK" in lines["postgres"]
    assert "NOT OK" in lines["redis"]
