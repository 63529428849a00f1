"""The command line around Django's: links that a command prints lead to the site that runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kilroy_site import commandline
from kilroy_site.supervisor import state
from kilroy_site.supervisor.state import ProcessState, State

ADDRESS = "http://127.0.0.1:9123"


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The public address that each command found, over a data folder of its own without servers to start."""
    found: list[str | None] = []
    for name in ("HOST", "PORT", "KILROY_PUBLIC_URL"):
        monkeypatch.setenv(name, "")  # so that monkeypatch takes back what the command line sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("KILROY_VAR", str(tmp_path))
    monkeypatch.setattr(commandline, "needed", lambda config: [])
    monkeypatch.setattr(
        "django.core.management.execute_from_command_line",
        lambda arguments: found.append(os.environ.get("KILROY_PUBLIC_URL")),
    )
    return found


def runs(var: Path, pid: int) -> None:
    supervisor = ProcessState.of("supervisor", pid)
    state.write(var, State(ADDRESS, "127.0.0.1:9123", "postgresql:///kilroy", "redis://127.0.0.1", supervisor, ()))


def test_a_command_speaks_of_the_site_that_runs(said: list[str | None], tmp_path: Path) -> None:
    runs(tmp_path, os.getpid())
    assert commandline.main(["manage.py", "sign_in_link"]) == 0
    assert said == [ADDRESS]


def test_what_the_environment_says_comes_first(
    said: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs(tmp_path, os.getpid())
    monkeypatch.setenv("PORT", "9000")
    commandline.main(["manage.py", "sign_in_link"])
    assert said == [None]


def test_a_site_that_was_there_once_says_nothing(said: list[str | None], tmp_path: Path) -> None:
    runs(tmp_path, 2**22 - 1)
    commandline.main(["manage.py", "sign_in_link"])
    assert said == [None]
