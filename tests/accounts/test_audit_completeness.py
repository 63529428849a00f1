"""No write without a line: every address that changes something is asked as the owner, and every service is read."""

from __future__ import annotations

import ast
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import audit
from accounts.models import AuditEntry, WebhookDelivery
from accounts.roles import PERMISSIONS, Role
from accounts.tenancy import tenant
from bots.states import PostState
from tests.call_graph import ROOT, Calls
from tests.everything import Everything, make_everything
from tests.factories import World, client_of, make_connection
from tests.routes import API, PAGES, Route, ids_of

NO_LINES = {
    "accounts_auditentry",  # the log itself
    "accounts_idempotencykey",  # what a request may be sent twice with
    "django_session",
    "usersessions_usersession",  # when a session was last used
    "accounts_notification",  # whether somebody has read what they were told
    "faces_usage",  # counts of calls: ticks of the machine
}
"""Tables whose rows nobody reads the audit log for."""
WRITE = re.compile(r'(?:INSERT INTO|UPDATE|DELETE FROM) "(\w+)"')


@pytest.fixture
def made(world: World, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Everything:
    settings.MEDIA_ROOT = tmp_path
    settings.VAR = tmp_path
    monkeypatch.setattr("celery.current_app.send_task", lambda *args, **options: None)
    monkeypatch.setattr("training.generation_api.WAIT_SECONDS", 0.0)
    with tenant(world.acme.pk):
        return make_everything()


def _bodies(made: Everything) -> dict[str, dict[str, Any]]:
    """What is sent along, by the end of the address and the method: as little as makes it succeed."""
    bot, posts = str(made.bot.pk), made.posts
    free = make_connection()
    return {
        "bots/ post": {"name": "New", "connection": str(free.pk)},
        "bots/<pk>/ patch": {"description": "Changed"},
        "bots/<pk>/ delete": {},
        "connections/ post": {"kind": "sandbox", "name": "New"},
        "connections/<pk>/budget/ post": {"daily_budget": 5},
        "connections/<pk>/learning/ post": {"may_learn": False},
        "connections/<pk>/ patch": {"settings": {"seed": 5}},
        "generate/ post": {"bot": bot},
        "harvests/ post": {"bot": bot, "connection": str(free.pk)},
        "harvests/<pk>/ patch": {"every_minutes": 60},
        "invitations/ post": {"email": "new@kilroy.example", "role": "viewer"},
        "members/<pk>/ patch": {"role": "editor"},
        "models/<pk>/tag/ post": {"tags": ["good"]},
        "generate/batch/ post": {"bot": bot, "prompts": [{"prompt": "A"}]},
        "posts/<pk>/schedule/ post": {"at": (timezone.now() + timedelta(hours=5)).isoformat()},
        "needs-human/<pk>/confirm/ post": {"reference": "remote-99"},
        "confirm/ post": {"reference": "remote-99"},
        "runs/<pk>/pause/ post": {},
        "notification-choices/<pk>/ patch": {"email": "never"},
        "posts/ post": {"bot": bot, "text": "A thing that nobody said before"},
        "posts/<pk>/ patch": {"text": "A thing that nobody said before"},
        "queue/<pk>/ patch": {"order": "random"},
        "queue/<pk>/move/ post": {"post": str(posts[PostState.APPROVED].pk), "to": "top"},
        "queue/<pk>/import/ post": {"text": "A heron in the canal said nothing"},
        "reply-rules/<pk>/ patch": {"per_hour": 2},
        "review/<pk>/decide/ post": {"post": str(made.post.pk), "choice": "approve"},
        "review/<uuid:post_id>/decide/ post": {"choice": "approve"},
        "retrainings/<pk>/ patch": {"every_hours": 48},
        "share-links/ post": {"bot": bot},
        "share/ post": {"days": "30"},
        "schedules/ post": {"bot": bot, "kind": "interval", "interval_seconds": 900},
        "schedules/<pk>/ patch": {"interval_seconds": 900},
        "tokens/ post": {"name": "New"},
        "webhooks/ post": {"url": "https://hooks.example/new", "events": ["post.published"]},
        "webhooks/<pk>/ patch": {"description": "Changed"},
        "write-ahead/ post": {"bot": bot, "count": 2},
        "slug>/ patch": {"name": "Acme & Sons"},
        "settings/name/ post": {"name": "Acme & Sons"},
        "settings/second-factor/ post": {"demands_mfa": ""},
        "settings/tokens/ post": {"name": "New", "expiry": "never", "scope": "all"},
        "members/<uuid:person_id>/role/ post": {"role": "editor"},
        "settings/invitations/ post": {"email": "new@kilroy.example", "role": "viewer"},
        "webhooks/new/ post": {"url": "https://hooks.example/new", "events": ["post.published"]},
        "bots/new/ post": {"name": "New", "connection": str(free.pk), "base_model": "starter"},
        "posts/new/ post": {"text": "A thing that nobody said before"},
        "edit/ post": {"text": "A thing that nobody said before"},
        "order/ post": {"queue_order": "random"},
        "move/ post": {"to": "top"},
        "queue/import/ post": {"text": "A heron in the canal said nothing", "confirm": "1"},
        "budget/ post": {"daily_budget": "5"},
        "retraining/set/ post": {"active": "on", "every_hours": 48, "least_new_examples": 5, "tag": "x-%H"},
        "datasets/upload/ post": {"name": "New", "source": "mine", "licence": "mine", "may_learn": "on"},
        "write-ahead/ page post": {"count": 2},
    }


def _ask(client: Client, route: Route, method: str, url: str, bodies: dict[str, dict[str, Any]]) -> Any:
    key = max((end for end in bodies if f"{route.pattern} {method}".endswith(end)), key=len, default="")
    body = bodies.get(key, {})
    if route in API:
        return getattr(client, method)(url, json.dumps(body), content_type="application/json")
    if route.pattern.endswith("datasets/upload/"):
        body = body | {"file": SimpleUploadedFile("posts.txt", b"One\nTwo\nThree\n")}
    return getattr(client, method)(url, body)


def _changing() -> list[tuple[Route, str]]:
    """What may change something: those addresses that a viewer may only read are left out."""
    actions = [(route, method) for route in API for method in route.actions if method not in ("get", "head")]
    pages = [(route, "post") for route in PAGES if route.view.permission not in PERMISSIONS[Role.VIEWER]]
    schedules = [(route, "post") for route in PAGES if route.pattern.endswith("/schedule/")]  # a form that viewers see
    return actions + pages + schedules


STATES = {
    "take-down/": PostState.PUBLISHED,
    "confirm/": PostState.NEEDS_HUMAN,
    "send-again/": PostState.NEEDS_HUMAN,
    "give-up/": PostState.NEEDS_HUMAN,
    "publish-now/": PostState.APPROVED,
    "schedule/": PostState.APPROVED,
    "cancel/": PostState.APPROVED,
    "move/": PostState.APPROVED,
    "unschedule/": PostState.SCHEDULED,
}
"""The state of the post that an address is asked for, by the address's end; any other: waiting for review."""


def _ids(made: Everything, route: Route) -> dict[str, Any]:
    ids = ids_of(made, route)
    post = made.posts[next((state for end, state in STATES.items() if route.pattern.endswith(end)), "pending_review")]
    of_posts = "/posts/<pk>" in route.pattern or "/needs-human/<pk>" in route.pattern
    # The first run is over: people act on the one that lives.
    of_runs = {"pk": made.online_run.pk} if "/runs/<pk>" in route.pattern else {}
    return ids | {"post_id": post.pk, "run_id": made.online_run.pk} | of_runs | ({"pk": post.pk} if of_posts else {})


def test_whatever_an_owner_changes_leaves_a_line_with_their_name(world: World, made: Everything) -> None:
    alice, silent, heard = client_of(world.alice), {}, set()
    alice.raise_request_exception = False
    with tenant(world.acme.pk):
        bodies = _bodies(made)
        told = {"type": "post.published", "timestamp": "2026-01-01T00:00:00Z", "data": {}}
        WebhookDelivery.objects.update(payload=told)
        newest = AuditEntry.objects.latest("pk").pk
    for route, method in _changing():
        with transaction.atomic():
            with CaptureQueriesContext(connection) as queries:
                answer = _ask(alice, route, method, route.url("acme", _ids(made, route)), bodies)
            with tenant(world.acme.pk):
                lines = list(AuditEntry.objects.filter(pk__gt=newest))
            transaction.set_rollback(True)
        tables = {name for query in queries for name in WRITE.findall(query["sql"])} - NO_LINES
        if answer.status_code < 400 and tables:
            heard.add((route.pattern, method))
            if {line.user_id for line in lines} != {world.alice.pk}:
                silent[route.pattern, method] = (sorted(tables), [(line.actor, line.action) for line in lines])
    assert silent == {}
    assert len(heard) > 75, sorted(heard)


# Services


def _services() -> list[str]:
    folders = [ROOT / "bots" / "services", ROOT / "training" / "services"]
    found = [path for folder in folders for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
    rooms = [ROOT / "accounts" / f"{name}.py" for name in ACCOUNTS] + [ROOT / "faces" / f"{name}.py" for name in FACES]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in [*found, *rooms]]


ACCOUNTS = (
    "exporting",
    "exports",
    "imports",
    "invitations",
    "leaving",
    "members",
    "notification_mail",
    "notifications",
    "organizations",
    "people",
    "quotas",
    "services",
    "site",
    "tokens",
    "webhook_sending",
    "webhooks",
)
FACES = ("authorizations", "governor", "services")
UNRECORDED = {
    "accounts.exporting.keep_going": "a lease",
    "accounts.people.spend_link": "of a person, and no organization",
    "accounts.people.vouch_for": "of a person, and no organization",
    "accounts.quotas.charge": "a count",
    "accounts.quotas.consume": "a count",
    "accounts.quotas.demand": "news that a quota is nearly used up",
    "accounts.quotas.give_back": "a count",
    "accounts.site.beat": "a tick",
    "accounts.site.pause_site": "of the installation, and no organization: the server's log tells of it",
    "accounts.site.resume_site": "of the installation, and no organization: the server's log tells of it",
    "accounts.tokens.find_token": "when a token was last used",
    "accounts.notification_mail.ring_due": "a tick: mails that nobody could send for days",
    "accounts.notifications.forget": "what somebody was told: that they left is on record",
    "accounts.notifications.forget_old": "old news",
    "accounts.notifications.read": "whether somebody has read what they were told",
    "accounts.notifications.read_all": "whether somebody has read what they were told",
    "accounts.notifications.settle": "news that is over",
    "accounts.notifications.tell": "news of what is on record",
    "accounts.webhook_sending.forget_old": "old messages",
    "accounts.webhooks.emit": "a message about what is on record",
    "bots.services.bots.release_slots": "slots of waiting posts: whoever changed the schedule is on record",
    "bots.services.delivery.claim": "a lease",
    "bots.services.steps.move": "a step on a post's way: where it ends is on record",
    "bots.services.replies.claim": "a lease",
    "bots.services.replies.give_up": "a mention's row holds what became of it, and why",
    "bots.services.replies.may_read": "a count",
    "bots.services.replies.put_off": "a lease",
    "bots.services.replies.skip": "a mention's row holds what became of it, and why",
    "bots.services.scheduling.fill_all_slots": "a tick: slots of waiting posts",
    "bots.services.scheduling.fill_slots": "a tick: slots of waiting posts",
    "bots.services.scheduling.queue_due": "a tick: posts whose slot has come",
    "bots.services.scores.give_reward": "a reading",
    "bots.services.scores.note_taken_down": "take_down_post records it",
    "bots.services.site_rules.keep": "of the installation, and no organization: the panel's own history tells of it",
    "bots.services.threads.release_parts": "a tick: parts whose turn has come",
    "faces.authorizations.forget_old": "attempts that ran out",
    "faces.governor.book_reading": "a count",
    "faces.governor.forget_old_usage": "old counts",
    "faces.governor.pay": "a count",
    "faces.governor.told_to_wait": "a count",
    "training.services.critics.train": "files of a run",
    "training.services.gates.judge": "the verdict is in the version's report; what follows from it is on record",
    "training.services.runs.claim_run": "a lease",
    "training.services.sharing.seen": "when a link was last followed",
    "training.services.run_log.moved": "the log of a run tells of what is on record",
    "training.services.run_log.note": "the log of a run tells of what is on record",
    "training.services.runs.free_dead_leases": "a lease",
    "training.services.runs.renew": "a lease",
    "training.services.telemetry.flush": "measurements",
    "training.services.telemetry.on_samples": "measurements",
    "training.services.telemetry.on_step": "measurements",
}
"""Services that write without a line, with the reason."""


def _writes(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    keywords = {keyword.arg for keyword in call.keywords}
    match call.func.attr:
        case "create" | "bulk_create" | "bulk_update" | "get_or_create" | "update_or_create" | "_raw_delete":
            return True
        case "update":
            return bool(keywords) and not call.args
        case "save":
            return not call.args and "save" not in keywords  # a file's `save` has arguments
        case "delete":
            return not call.args and not keywords
    return False


def _records(call: ast.Call) -> bool:
    return ast.unparse(call.func) in ("audit.record", "audit.record_all")


def test_every_service_that_writes_records_it_or_says_why_not() -> None:
    calls = Calls(_services())
    writing = [name for name in calls.public() if calls.leads_to(name, _writes)]
    assert len(writing) > 100
    assert {name for name in writing if not calls.leads_to(name, _records)} == set(UNRECORDED)


# What a line holds


def test_long_texts_are_shortened_and_everything_is_json(world: World) -> None:
    with tenant(world.acme.pk):
        line = audit.record(
            "test.line",
            world.acme,
            before={"text": "x" * 500, "at": world.acme.created_at, "id": world.acme.pk},
            after={"text": "y" * 1501, "nested": {"list": ("z" * 600, 1, None)}},
        )
        line.refresh_from_db()
    kept = {"text": "x" * 500, "at": world.acme.created_at.isoformat(), "id": str(world.acme.pk)}
    assert line.before == kept
    assert line.after["text"] == "y" * 500 + "… (1,501 characters)"
    assert line.after["nested"]["list"] == ["z" * 500 + "… (600 characters)", 1, None]


@pytest.mark.parametrize(
    ("proxies", "header", "address"),
    [
        (0, "198.51.100.7", "192.0.2.1"),
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        (2, "203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "198.51.100.7", "192.0.2.1"),
        (1, "nonsense", "192.0.2.1"),
        (1, "", "192.0.2.1"),
    ],
)
def test_a_header_is_believed_as_far_as_it_was_written_by_trusted_proxies(
    world: World, settings: Any, proxies: int, header: str, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {"X-Forwarded-For": header} if header else None
    client_of(world.alice).post("/o/acme/pause/", headers=headers, REMOTE_ADDR="192.0.2.1")
    with tenant(world.acme.pk):
        line = AuditEntry.objects.latest("pk")
    assert (line.action, line.address, line.before["paused_at"]) == ("organization.pause", address, None)
