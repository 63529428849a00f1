from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from training.services.demo import ensure_demo


class Command(BaseCommand):
    help = "Make the demo organization with its bot, if it is not there yet."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(ensure_demo().email)
