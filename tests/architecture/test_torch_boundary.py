"""Processes that do not train never load torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kilroy_site.config import BASE_DIR

HEAVY = ("torch", "transformers", "accelerate", "peft", "tokenizers", "safetensors", "llvmlite")

LOAD_EVERYTHING = f"""
import importlib, os, pkgutil, sys
import django
django.setup()
import kilroy_site.urls, kilroy_site.asgi, kilroy_site.celery
from django.apps import apps
from django.urls import get_resolver
get_resolver().url_patterns
loaded = []
for room in ("accounts", "faces", "bots", "training"):
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, room + "."):
        last = module.name.rpartition(".")[2]
        if last in ("tasks", "api", "views", "consumers", "admin", "forms", "urls", "services"):
            importlib.import_module(module.name)
            loaded.append(module.name)
print(" ".join(loaded))
found = [name for name in {HEAVY!r} if name in sys.modules]
sys.exit(f"loaded: {{found}}" if found else 0)
"""


def test_web_and_io_processes_load_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_EVERYTHING], cwd=BASE_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {"bots.tasks", "training.tasks", "training.views", "bots.api"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    "line", ["import torch", "from transformers import GPT2LMHeadModel", "from training import gpu"]
)
def test_a_module_level_import_outside_the_engine_is_refused(line: str) -> None:
    assert _ruff("training/services/somewhere.py", f"{line}\n").count("TID253") == 1


def test_the_engine_may_import_torch() -> None:
    assert _ruff("training/engine/somewhere.py", "import torch\n") == ""


def _ruff(path: str, code: str) -> str:
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID253", "--quiet", "--output-format", "concise"]
    done = subprocess.run(
        [*command, "--stdin-filename", path, "-"], cwd=BASE_DIR, input=code, capture_output=True, text=True, check=False
    )
    return done.stdout
