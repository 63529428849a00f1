from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts import audit, site


class Command(BaseCommand):
    help = "Publish nothing of the whole installation from now on, until `manage.py resume`."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="shown to everybody on every page")

    def handle(self, *args: Any, **options: Any) -> None:
        with audit.acting(audit.Actor("command line")):
            site.pause_site(options["reason"])
        self.stdout.write("Paused: no send begins any more. Requests already under way end within 20 seconds.")
