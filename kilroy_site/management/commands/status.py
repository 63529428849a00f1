"""`manage.py status`: what runs, where, and whether it is well."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from kilroy_site.config import mask_password
from kilroy_site.supervisor import health, state

NOT_RUNNING, UNHEALTHY = 1, 2


class Command(BaseCommand):
    help = f"Show the address, the servers and every process. Exits {NOT_RUNNING} if down, {UNHEALTHY} if unhealthy."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")

    def handle(self, *args: Any, **options: Any) -> None:
        running = state.read(settings.CONFIG.var)
        if running is None:
            self.stdout.write(
                json.dumps({"running": False}) if options["json"] else "Kilroy does not run. Start it: make up"
            )
            raise SystemExit(NOT_RUNNING)
        lines = health.report(running, settings.CONFIG.var)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(running, lines), indent=2))
        else:
            self.stdout.write(_as_text(running, lines))
        if not all(line.healthy for line in lines):
            raise SystemExit(UNHEALTHY)


def _as_json(running: state.State, lines: list[health.Health]) -> dict[str, Any]:
    return {
        "running": True,
        "healthy": all(line.healthy for line in lines),
        "address": running.address,
        "database": mask_password(running.database_url),
        "redis": mask_password(running.redis_url),
        "processes": [asdict(line) for line in lines],
    }


def _as_text(running: state.State, lines: list[health.Health]) -> str:
    head = [
        f"address   {running.address}",
        f"database  {mask_password(running.database_url)}",
        f"redis     {mask_password(running.redis_url)}",
        "",
    ]
    rows = [
        f"{line.name:<11} {line.pid or '-':>7}  {'ok' if line.healthy else 'NOT OK':<7} {line.detail}" for line in lines
    ]
    return "\n".join(head + rows)
