"""Django's `flush`, as the owner of the tables: nobody else may empty them."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import flush

from accounts import row_security


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        with row_security.as_owner():
            super().handle(**options)
