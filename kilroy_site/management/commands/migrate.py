"""Django's `migrate`, as the owner of the tables; every other process acts as a role that row-level security binds."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import migrate
from django.db import connections

from accounts import row_security


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with row_security.as_owner():
            super().handle(*args, **options)
            row_security.prepare(connections[options["database"]])
