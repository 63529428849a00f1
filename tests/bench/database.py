"""A benchmark over a PostgreSQL and a Redis of its own, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kilroy_site.config import BASE_DIR


def report_of(module: str) -> dict[str, Any]:
    """What `module`, run by itself, prints as its last line: one JSON object. Shown on the standard error, too."""
    with tempfile.TemporaryDirectory(prefix="kilroy-bench-") as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_"))}
        done = subprocess.run(
            [sys.executable, "-m", module],
            cwd=BASE_DIR,
            env=kept | {"TEST_RUN_FOLDER": folder, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(report), file=sys.stderr)
    return report


def main(measure: Callable[[Path], dict[str, Any]]) -> None:
    """Within that process: start the servers, migrate, print what `measure` finds in the folder of the run."""
    from kilroy_site.embedded.postgres import FAST_AND_FORGETFUL, Postgres
    from kilroy_site.embedded.redis import Redis

    folder = Path(os.environ["TEST_RUN_FOLDER"])
    servers = (Postgres(folder, FAST_AND_FORGETFUL), Redis(folder, ["--appendonly", "no"]))
    started = [(server, server.start(folder / "logs" / f"{server.name}.log")) for server in servers]
    try:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        print(json.dumps(measure(folder)))
    finally:
        for server, process in started:
            server.stop(process)
