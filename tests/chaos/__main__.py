"""`make chaos`: 2,000 posts to six imitated platforms while networks, workers, PostgreSQL and Redis fail, and whether
each was published once, refused with proof, or left to a person.

The exit code is 0 only when nothing is lost, nothing is doubled, and the naive publisher beside it loses and doubles:
otherwise the campaign would prove nothing. At full size every named fault point must have fired 30 times.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.size import FULL, Size


def main(arguments: list[str]) -> int:
    asked = _arguments(arguments)
    size = Size.of(asked.posts, factor=asked.factor, seed=asked.seed)
    from tests.chaos.network import Network
    from tests.chaos.platforms import environment, served

    network = Network(15.0 / size.factor, asked.seed)
    with _folder(asked.keep) as folder, served(network, size.factor) as platforms:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "REDIS_"))}
        os.environ.clear()
        os.environ.update(own | environment(platforms))
        os.environ |= {
            "KILROY_VAR": str(folder),
            "KILROY_DEBUG": "1",
            "KILROY_LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "CHAOS_FACTOR": str(size.factor),
        }
        from tests.chaos.fleet import Servers

        servers = Servers(folder)
        try:
            servers.start()
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", verbosity=0)
            from tests.chaos.campaign import run

            return run(size, network, platforms, servers)
        finally:
            servers.stop()


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=…", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--posts", type=int, default=FULL, help="posts to approve (default: %(default)s)")
    parser.add_argument("--factor", type=float, help="divides the protocol's waits; 1: as in production")
    parser.add_argument("--seed", type=int, default=1, help="of the dice that can be seeded (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="a folder for the data and logs, kept; default: one that goes away")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="kilroy-chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
