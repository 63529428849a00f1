"""bandit finds nothing in the rooms; each exception stands beside its line, with its reason."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from kilroy_site.config import BASE_DIR

ROOMS = ("accounts", "bots", "faces", "kilroy_site", "training")
REASONED = re.compile(r"# nosec B\d+(, ?B\d+)* # \w+")


def bandit(*paths: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bandit", "-q", "-c", "pyproject.toml", "-r", *paths]
    return subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, check=False)


def test_bandit_finds_nothing() -> None:
    done = bandit(*ROOMS)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_would_notice(tmp_path: Path) -> None:
    bad = tmp_path / "trespass.py"
    bad.write_text(
        "import pickle, subprocess\n\n\ndef load(x):\n    subprocess.call(x, shell=True)\n    pickle.loads(x)\n"
    )
    found = bandit(str(bad)).stdout
    assert ("B602" in found, "B301" in found) == (True, True)


def test_every_exception_has_its_reason() -> None:
    lines = [
        f"{path.relative_to(BASE_DIR)}: {line.strip()}"
        for room in ROOMS
        for path in (BASE_DIR / room).rglob("*.py")
        for line in path.read_text().splitlines()
        if "nosec" in line
    ]
    assert lines
    assert [line for line in lines if not REASONED.search(line)] == []


UNESCAPED = re.compile(
    r"\|\s*safe(seq)?\b|autoescape\s+off|mark_safe|SafeString|format_html|__html__|\.innerHTML|insertAdjacentHTML"
)


def test_nothing_is_taken_for_markup() -> None:
    """Escaping has no exceptions, neither in templates nor in scripts of ours."""
    folders = [BASE_DIR / name for name in (*ROOMS, "templates", "static/js")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".html", ".js")]
    assert len(files) > 300
    found = {str(path.relative_to(BASE_DIR)): UNESCAPED.findall(path.read_text()) for path in files}
    assert [path for path, hits in found.items() if hits] == []
