"""`make fuzz`: some 13,000 requests that schemathesis makes of the OpenAPI document, by two organizations at once.

The last line is JSON. The exit code is 0 only when nothing was found.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=…", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=15, help="cases of each operation (default: %(default)s)")
    parser.add_argument("--coverage", type=int, default=1, help="borders of every n-th path; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="kilroy-fuzz-"))
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_"))}
    os.environ.clear()
    os.environ.update(own | {"TEST_RUN_FOLDER": str(folder), "DJANGO_SETTINGS_MODULE": "tests.settings"})
    from kilroy_site.embedded.postgres import FAST_AND_FORGETFUL, Postgres
    from kilroy_site.embedded.redis import Redis

    servers = (Postgres(folder, FAST_AND_FORGETFUL), Redis(folder, ["--appendonly", "no"]))
    started = [(server, server.start(folder / "logs" / f"{server.name}.log")) for server in servers]
    try:
        import logging

        import django
        from django.core.management import call_command

        django.setup()
        logging.disable(logging.CRITICAL)
        call_command("migrate", verbosity=0)
        from tests.fuzz.campaign import run

        begun = time.monotonic()
        report = run(examples=asked.examples, coverage=asked.coverage, seed=asked.seed)
        for each in report.found:
            print(f"{each}\n{'-' * 80}")
        print(json.dumps(report.summary() | {"seconds": round(time.monotonic() - begun, 1)}))
        return 1 if report.found else 0
    finally:
        for server, process in started:
            server.stop(process)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
