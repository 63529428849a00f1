from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit
from accounts.models import Site
from bots.services.restored import doubt_everything_since


class Command(BaseCommand):
    help = (
        "Say that the database was restored from a backup: publishing is paused, and posts that may have been sent "
        "since the backup are looked for on their platforms. `up` notices this by itself where it can."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", default="", help="moment of the backup, like 2026-05-04T08:00+00:00")

    def handle(self, *args: Any, **options: Any) -> None:
        with audit.acting(audit.Actor("command line")):
            doubtful = doubt_everything_since(_moment(options["since"]))
        self.stdout.write(
            f"Publishing is paused. {doubtful} posts may have been sent since, and are looked for now; those that are "
            "not found need a person. `manage.py resume` lets publishing go on."
        )


def _moment(text: str) -> datetime:
    if not text:
        pulse = Site.objects.filter(pk=1).values_list("pulse_at", flat=True).first()
        if pulse is None:
            raise CommandError("This database has no pulse: say with --since when the backup was made.")
        return pulse
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"“{text}” is no moment. Write it like 2026-05-04T08:00+00:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
