"""`manage.py rehearse`: the whole loop headless, as fast as the machine can, in a database of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.test.utils import override_settings

from kilroy_site.embedded.running import needed, running
from kilroy_site.embedded.server import ServerError
from training.configs import ALGORITHMS
from training.engine.errors import EngineError
from training.rehearsal import FULL, SHORT, rehearse

FEWEST = 16
BAR = 30


def _posts(text: str) -> int:
    if not text.isdecimal() or int(text) < FEWEST:
        raise ArgumentTypeError(f"give a whole number of at least {FEWEST}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise ArgumentTypeError("give a whole number from 0 to 2147483647")
    return int(text)


class Command(BaseCommand):
    help = "Rehearse the whole loop with a simulated clock and audience, and report how much the bot improved."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--posts", type=_posts, default=256, help="posts to publish and learn from (256)")
        parser.add_argument("--seed", type=_seed, default=1, help="the same seed gives the same rehearsal (1)")
        parser.add_argument("--algorithm", choices=ALGORITHMS, default=ALGORITHMS[0])
        parser.add_argument("--short", action="store_true", help="see in a minute that the loop turns; learns little")
        parser.add_argument("--json", action="store_true", help="end with one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        progress = _Bar() if sys.stderr.isatty() else _silent
        try:
            with running(needed(settings.CONFIG), settings.VAR), _apart():
                scale = SHORT if options["short"] else FULL
                report = rehearse(
                    options["posts"], options["seed"], progress, algorithm=options["algorithm"], scale=scale
                )
        except (ServerError, EngineError, RuntimeError) as error:
            raise CommandError(str(error)) from error
        rounded = {
            name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(report).items()
        }
        if options["json"]:
            self.stdout.write(json.dumps(rounded))
            return
        for name, value in rounded.items():
            self.stdout.write(f"{name:18} {value}")


@contextmanager
def _apart() -> Iterator[None]:
    """A database, a folder and a broker of the rehearsal's own: nothing of it reaches the installation's data or
    workers.
    """
    with tempfile.TemporaryDirectory(prefix="kilroy-rehearsal-") as folder:
        media = str(Path(folder) / "media")
        with override_settings(VAR=Path(folder), MEDIA_ROOT=media, LIVE_REDIS_URL=""):
            broker = current_app.conf.broker_url
            current_app.conf.broker_url = "memory://localhost/"
            original = connection.settings_dict["NAME"]
            connection.settings_dict["TEST"]["NAME"] = f"rehearsal_{Path(folder).name.rsplit('-', 1)[-1]}".lower()
            connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
            try:
                yield
            finally:
                connection.creation.destroy_test_db(original, verbosity=0)
                current_app.conf.broker_url = broker


def _silent(what: str, done: int, total: int) -> None:
    return None


class _Bar:
    """A progress bar on the terminal's standard error."""

    def __init__(self) -> None:
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._what and what != self._what:
            sys.stderr.write("\n")
        self._what = what
        filled = BAR * done // max(total, 1)
        sys.stderr.write(f"\r{what:12} [{'#' * filled}{'.' * (BAR - filled)}] {done}/{total} ")
        sys.stderr.flush()
        if what == "Measuring" and done == total:
            sys.stderr.write("\n")
