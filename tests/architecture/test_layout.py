"""The size of files, the pins of packages and the single declaration of the environment."""

from __future__ import annotations

import re
from pathlib import Path

from kilroy_site.config import BASE_DIR

LONGEST_FILE = 400
CODE = ("accounts", "bots", "faces", "kilroy_site", "training", "tests", "templates", "static")
SUFFIXES = {".py", ".html", ".css", ".js", ".sh"}


def sources() -> list[Path]:
    found = [path for folder in CODE for path in (BASE_DIR / folder).rglob("*") if path.suffix in SUFFIXES]
    return [path for path in found if not {"migrations", "vendor", "__pycache__"} & set(path.parts)]


def test_no_file_grows_beyond_a_package() -> None:
    lengths = {str(path.relative_to(BASE_DIR)): len(path.read_text().splitlines()) for path in sources()}
    assert len(lengths) > 100
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


PIN = re.compile(r"[A-Za-z0-9_.\-]+(\[[a-z0-9,\-]+\])?==[0-9][A-Za-z0-9.]*( --hash=sha256:[0-9a-f]{64})?")


def test_every_requirement_is_pinned_exactly() -> None:
    for file in (BASE_DIR / "requirements").glob("*.txt"):
        lines = [line for line in file.read_text().splitlines() if line and not line.startswith(("#", "-r "))]
        loose = [line for line in lines if not PIN.fullmatch(line)]
        assert loose == [], file.name


def test_the_environment_is_read_in_one_place() -> None:
    pattern = re.compile(r"os\.(environ|getenv)")
    allowed = {
        "kilroy_site/commandline.py",
        "kilroy_site/config.py",
        "kilroy_site/settings.py",
        "kilroy_site/celery.py",
        "kilroy_site/asgi.py",
        "training/engine/distributed.py",  # torchrun speaks through the environment
    }
    readers = {
        str(path.relative_to(BASE_DIR))
        for path in sources()
        if path.suffix == ".py" and "tests" not in path.relative_to(BASE_DIR).parts and pattern.search(path.read_text())
    }
    # The supervisor hands its own environment on to its children.
    assert readers <= allowed | {"kilroy_site/supervisor/supervisor.py"}
