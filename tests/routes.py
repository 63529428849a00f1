"""Every address of the site, as its URL configuration has them, for tests that walk over them all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from accounts.tenancy import tenant
from tests.everything import Everything


@dataclass(frozen=True)
class Route:
    pattern: str
    view: Any

    @property
    def actions(self) -> dict[str, str]:
        """HTTP method → action, of an API route."""
        return dict(getattr(self.view, "actions", None) or {})

    def permission(self, method: str) -> str | None:
        """What the role must carry, as the view declares it."""
        if self.actions:
            action = self.actions.get(method)
            return self.view.cls.permissions[action] if action else None
        return self.view.permission

    def url(self, slug: str, ids: dict[str, Any]) -> str:
        path = self.pattern
        for converted, name in re.findall(r"(<(?:\w+:)?(\w+)>)", path):
            path = path.replace(converted, str(slug if name == "slug" else ids[name]))
        return "/" + path


def _routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[Route]:
    for entry in (resolver or get_resolver()).url_patterns:
        pattern = prefix + _plain(str(entry.pattern))
        if isinstance(entry, URLResolver):
            yield from _routes(entry, pattern)
        elif isinstance(entry, URLPattern):
            yield Route(pattern, entry.callback)


def _plain(pattern: str) -> str:
    """The router's regular expressions in the same notation as `path()`."""
    return re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", pattern).replace("^", "").replace("$", "").replace("\\Z", "")


ROUTES = list(_routes())
INSIDE = [route for route in ROUTES if "<slug:slug>" in route.pattern]
PAGES = [route for route in INSIDE if route.pattern.startswith("o/")]
API = [route for route in INSIDE if route.pattern.startswith("api/v1/")]


def _first(made: Everything, rows: Callable[[], Any]) -> Any:
    with tenant(made.bot.organization_id):
        return rows().first()


def ids_of(made: Everything, route: Route) -> dict[str, Any]:
    pk = {
        "audit": made.line,
        "bots": made.bot,
        "calendar": made.bot,
        "canaries": made.canary,
        "candidates": _first(made, lambda: made.incoming.candidates),
        "connections": made.connection,
        "datasets": made.dataset,
        "examples": _first(made, lambda: made.dataset.examples),
        "exports": made.export,
        "generate": made.generation,
        "harvests": made.harvest,
        "images": made.image,
        "incoming": made.incoming,
        "invitations": made.invitation,
        "members": made.member.user,
        "lift": made.bot,
        "models": made.version,
        "moderation": made.bot,
        "needs-human": made.post,
        "notifications": made.notification,
        "posts": made.post,
        "queue": made.bot,
        "retrainings": made.bot,
        "reply-rules": made.bot,
        "review": made.bot,
        "runs": made.run,
        "sanctions": made.sanction,
        "schedules": made.schedule,
        "share-links": made.share_link,
        "scores": made.observation,
        "tokens": made.token,
        "webhooks": made.webhook,
        "webhook-deliveries": made.delivery,
    }
    resource = route.pattern.split("/")[4] if route in API else ""
    return {
        "pk": "post.needs_human" if resource == "notification-choices" else pk[resource].pk if resource in pk else None,
        "bot_id": made.bot.pk,
        "post_id": made.post.pk,
        "image_id": made.image.pk,
        "dataset_id": made.dataset.pk,
        "incoming_id": made.incoming.pk,
        "schedule_id": made.schedule.pk,
        "run_id": made.run.pk,
        "version_id": made.version.pk,
        "generation_id": made.generation.pk,
        "group": made.generation.group,
        "canary_id": made.canary.pk,
        "harvest_id": made.harvest.pk,
        "connection_id": made.connection.pk,
        "webhook_id": made.webhook.pk,
        "delivery_id": made.delivery.pk,
        "person_id": made.member.user_id,
        "invitation_id": made.invitation.pk,
        "token_id": made.token.pk,
        "export_id": made.export.pk,
        "sanction_id": made.sanction.pk,
        "share_id": made.share_link.pk,
        "notification_id": made.notification.pk,
        "sha256": "0" * 64,
        "kind": "sandbox",
    }
