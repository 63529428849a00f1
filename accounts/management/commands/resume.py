from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from accounts import audit, site


class Command(BaseCommand):
    help = "Publish again after `manage.py pause`, or after a restored database paused the installation."

    def handle(self, *args: Any, **options: Any) -> None:
        with audit.acting(audit.Actor("command line")):
            site.resume_site()
        self.stdout.write("Publishing goes on.")
