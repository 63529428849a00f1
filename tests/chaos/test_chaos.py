"""A short campaign: with real workers, and everything failing, no post is lost or doubled; a naive publisher's are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kilroy_site.config import BASE_DIR


def _numbers(output: str, line: str) -> dict[str, float]:
    found = next(told for told in output.splitlines() if told.startswith(line))
    return {name: float(value) for name, value in re.findall(r"(\w+)=(\d+)", found)}


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    own = {n: v for n, v in os.environ.items() if not n.startswith(("DATABASE_", "REDIS_", "TEST_RUN", "KILROY_"))}
    command = [sys.executable, "-m", "tests.chaos", "--posts", "100", "--keep", str(tmp_path)]
    done = subprocess.run(command, cwd=BASE_DIR, env=own, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    campaign, control = _numbers(done.stdout, "posts="), _numbers(done.stdout, "naive publisher")
    assert (campaign["posts"], campaign["lost"], campaign["doubled"]) == (100, 0, 0)
    assert campaign["faults"] >= 40
    assert campaign["kills"] >= 10
    assert campaign["parked"] < 50  # else nothing was shown: what is parked is neither lost nor doubled
    assert control["lost"] > 0
    assert control["doubled"] > 0
