"""The import contracts hold, and each would be noticed if it were broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kilroy_site.config import BASE_DIR

ROOMS = ("accounts", "bots", "faces", "kilroy_site", "training")

BREAKS = [
    ("rooms", "accounts/trespass.py", "import faces"),
    ("rooms", "faces/trespass.py", "import bots.models"),
    ("rooms", "bots/trespass.py", "def later() -> None:\n    from training import models"),
    ("rooms", "training/trespass.py", "from kilroy_site import config"),
    ("engine", "training/engine/trespass.py", "from django.conf import settings"),
    ("engine", "training/engine/trespass.py", "def later() -> None:\n    import accounts.tenancy"),
    ("engine", "training/engine/trespass.py", "import training.models"),  # Django by a detour
    ("engine-door", "training/trespass.py", "from training.engine import sampling"),
    ("engine-door", "bots/trespass.py", "def later() -> None:\n    import training.engine"),
    ("gpu-door", "training/views.py", "def later() -> None:\n    from training import gpu"),
    ("torch", "bots/trespass.py", "def later() -> None:\n    import torch"),
    ("torch", "training/trespass.py", "import transformers"),
]


def lint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the packages in `folder`."""
    program = str(Path(sys.executable).with_name("lint-imports"))
    command = [program, "--no-logo", "--cache-dir", str(folder / ".cache"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_contracts_hold() -> None:
    done = lint(BASE_DIR, "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages that may be damaged."""
    folder = tmp_path_factory.mktemp("tree")
    for room in ROOMS:
        shutil.copytree(BASE_DIR / room, folder / room, ignore=lambda _, names: [n for n in names if not _is_code(n)])
    shutil.copy(BASE_DIR / "pyproject.toml", folder)
    return folder


def _is_code(name: str) -> bool:
    return name != "__pycache__" and ("." not in name or name.endswith(".py"))


@pytest.mark.parametrize(("contract", "path", "line"), BREAKS)
def test_a_broken_contract_is_noticed(tree: Path, contract: str, path: str, line: str) -> None:
    file = tree / path
    before = file.read_text() if file.exists() else None
    try:
        file.write_text(f"{before or ''}\n{line}\n")
        done = lint(tree, "--contract", contract)
    finally:
        if before is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(before)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Contracts: 0 kept, 1 broken." in done.stdout
    assert path.removesuffix(".py").replace("/", ".") in done.stdout


def test_the_plain_types_of_the_engine_are_open_to_all(tree: Path) -> None:
    file = tree / "training" / "visitor.py"
    file.write_text("from training.engine.types import SamplingParams\n")
    try:
        done = lint(tree)
    finally:
        file.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
