"""An installation of its own for a benchmark: a fresh data folder, a free port, `manage.py up`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kilroy_site.config import BASE_DIR


@dataclass
class Running:
    """A started installation. `line` is what it printed when it was ready."""

    var: Path
    process: subprocess.Popen[str]
    line: str
    started: float

    def seconds_until(self, condition: Callable[[], bool], limit: float) -> float:
        """Seconds from the start until `condition` holds. Raises TimeoutError after `limit`."""
        while not condition():
            if time.monotonic() - self.started > limit:
                raise TimeoutError(f"not within {limit:.0f} s")
            time.sleep(0.1)
        return time.monotonic() - self.started


@contextmanager
def installation(*, demo: str) -> Iterator[Running]:
    """Start one, hand it over once it is ready, stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="kilroy-bench-") as folder:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_"))}
        environment = {**kept, "KILROY_VAR": folder, "KILROY_DEMO": demo, "PORT": str(port)}
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"`manage.py up` ended with exit code {process.wait()}")
            yield Running(Path(folder), process, line, started)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
