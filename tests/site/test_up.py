"""`manage.py up`, for real: every process, once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kilroy_site.config import BASE_DIR


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    ours = {"KILROY_VAR": str(tmp_path / "var"), "KILROY_DEMO": "no", "PORT": str(port)}
    kept = {name: os.environ[name] for name in os.environ if not name.startswith(("DATABASE_", "REDIS_", "DJANGO_"))}
    return {**kept, **ours}


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False)


def test_one_command_runs_everything_and_ctrl_c_ends_it(environment: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "up"]
    up = subprocess.Popen(
        command, cwd=BASE_DIR, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert up.stdout is not None
        line = up.stdout.readline()
        address = f"http://127.0.0.1:{environment['PORT']}"
        assert line == f"Kilroy runs at {address} (Ctrl-C stops it)\n", up.communicate()[1]
        family = psutil.Process(up.pid).children(recursive=True)
        told = _healthy_status(environment)
        assert told["address"] == address
        assert [(process["name"], process["healthy"]) for process in told["processes"]] == [
            (name, True) for name in ("supervisor", "postgres", "redis", "web", "io", "training", "beat")
        ]
        assert all(process["pid"] for process in told["processes"])
    finally:
        up.send_signal(signal.SIGINT)
        rest, errors = up.communicate(timeout=60)
    assert (up.returncode, rest, errors) == (0, "", "")
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert manage(environment, "status").returncode == 1


def _healthy_status(environment: dict[str, str]) -> dict:
    """Workers need some seconds more than the web process."""
    for _ in range(20):
        done = manage(environment, "status", "--json")
        if done.returncode == 0:
            return json.loads(done.stdout)
    raise AssertionError(done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("variable", "value", "error"),
    [
        ("PORT", "eighty", "PORT='eighty' cannot be used: expected a whole number from 1 to 65535."),
        ("KILROY_DEBGU", "1", "KILROY_DEBGU='1': there is no such variable. Did you mean KILROY_DEBUG?"),
    ],
)
def test_a_bad_environment_is_one_clear_line(
    environment: dict[str, str], variable: str, value: str, error: str
) -> None:
    done = manage({**environment, variable: value}, "up")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{error}\n")
