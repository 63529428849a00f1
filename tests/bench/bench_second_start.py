"""Seconds from `manage.py up` to its address, over data that is there already; at most 20."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time

from kilroy_site.config import BASE_DIR
from tests.bench.measurement import Measurement

PORT = "18765"


def run() -> Measurement:
    """The second of two starts over one data folder."""
    with tempfile.TemporaryDirectory(prefix="kilroy-bench-") as folder:
        environment = {**os.environ, "KILROY_VAR": folder, "KILROY_DEMO": "no", "PORT": PORT}
        _start(environment)
        return Measurement(ours=_start(environment), goal=20.0, better="lower")


def _start(environment: dict[str, str]) -> float:
    started = time.monotonic()
    command = [sys.executable, "manage.py", "up"]
    with subprocess.Popen(command, cwd=BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"`manage.py up` ended with exit code {process.wait()}")
        seconds = time.monotonic() - started
        process.send_signal(signal.SIGINT)
    return seconds
