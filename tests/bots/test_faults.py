"""Points where a process kills itself: silent unless asked, and counted."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from bots import faults
from kilroy_site.config import BASE_DIR, ConfigError, load

NOT_DRAWN = {"KILROY_SECRET_KEY": "s" * 64, "KILROY_CREDENTIAL_KEYS": "a:" + "A" * 43}


def test_a_point_does_nothing_by_itself(settings: Any) -> None:
    assert settings.FAULTS == {}
    for name in faults.POINTS:
        faults.point(name)


def test_a_point_that_fires_leaves_a_line_and_kills_its_process(settings: Any, tmp_path: Path) -> None:
    settings.FAULTS, settings.FAULTS_FILE = {"before_send": 1.0}, tmp_path / "faults.log"
    for _ in range(2):
        pid = os.fork()
        if not pid:
            faults.point("after_send")
            faults.point("before_send")
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert (os.WIFSIGNALED(status), os.WTERMSIG(status)) == (True, signal.SIGKILL)
    assert settings.FAULTS_FILE.read_text() == "before_send\nbefore_send\n"


def test_every_point_stands_somewhere_in_the_code() -> None:
    code = "".join(path.read_text() for path in (BASE_DIR / "bots" / "services").glob("*.py"))
    named = set(re.findall(r'point\("(\w+)"\)|point, "(\w+)"\)|"(before_book)" if', code))
    named_in = {name for found in named for name in found if name} | set(re.findall(r'else "(before_settle)"\)', code))
    assert named_in == faults.POINTS


def test_points_are_named_by_the_environment_for_tests_only() -> None:
    asked = NOT_DRAWN | {"KILROY_FAULTS": "after_intent:0.05, before_book:1"}
    assert load(asked | {"KILROY_DEBUG": "1"}).faults == {"after_intent": 0.05, "before_book": 1.0}
    with pytest.raises(ConfigError, match="KILROY_DEBUG"):
        load(asked)


@pytest.mark.parametrize("text", ["after_intent", "after_intent:2", "after_intent:0", "after_intent:often", ":0.5"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="KILROY_FAULTS"):
        load(NOT_DRAWN | {"KILROY_FAULTS": text, "KILROY_DEBUG": "1"})


def test_a_point_that_does_not_exist_is_refused(settings: Any) -> None:
    settings.FAULTS = {"before_lunch": 0.5}
    with pytest.raises(ImproperlyConfigured, match="before_lunch"):
        faults.check()
