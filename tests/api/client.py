"""The API as tests use it."""

from __future__ import annotations

from typing import Any

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from tests.factories import World, client_of

BASE = "/api/v1/organizations/acme/"


class Api:
    """The API as Alice uses it, and the audit lines that each call leaves."""

    def __init__(self, world: World) -> None:
        self.world, self.client = world, client_of(world.alice)

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any, list[str]]:
        with tenant(self.world.acme.pk):
            before = AuditEntry.objects.count()
        answer = getattr(self.client, method)(BASE + path, body, content_type="application/json")
        with tenant(self.world.acme.pk):
            lines = list(AuditEntry.objects.order_by("id").values_list("action", flat=True))[before:]
        return answer.status_code, answer.json() if answer.content else None, lines
