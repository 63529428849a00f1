"""Tests of faces against servers that nobody here wrote. `make test-servers` installs and runs them; other runs do not
look here.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if "servers" not in config.option.markexpr else None
