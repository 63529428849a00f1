"""Webhooks over the API: their whole life, the secret shown once, what was sent, and that others see none of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from pytest_django import Settings

from accounts import webhooks
from accounts.models import Webhook
from accounts.tenancy import tenant
from accounts.webhook_events import EVENTS
from accounts.webhook_sending import take_turn
from tests.accounts.webhook_receiver import Receiver, receiver
from tests.api.client import Api
from tests.factories import World

POST = {"post": "3f0d6a3e-58a7-4d53-8a43-2f9f6a2b7c11", "state": "published"}


@pytest.fixture
def at(settings: Settings) -> Iterator[Receiver]:
    def allow(port: int) -> None:
        settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", port)})

    with receiver(allow) as found:
        yield found


def test_a_webhook_is_made_told_changed_turned_and_deleted(api: Api, at: Receiver, world: World) -> None:
    wanted = {"url": at.url, "events": ["post.published"], "description": "Ours"}
    status, made, lines = api("post", "webhooks/", wanted)
    assert (status, lines) == (201, ["webhook.create"])
    secret, path = made.pop("secret"), f"webhooks/{made['id']}/"
    assert made == made | wanted | {"active": True, "failing_since": None, "disabled_reason": ""}
    assert api("get", path) == (200, made, [])
    assert api("get", "webhooks/")[1]["results"] == [made]

    status, row, lines = api("post", path + "test/")
    assert (status, row["event"], row["state"], lines) == (202, "webhook.test", "pending", ["webhook.test"])
    with tenant(world.acme.pk):
        assert take_turn(made["id"]) == 1
    sent = api("get", f"webhook-deliveries/{row['id']}/")[1]
    assert (sent["state"], sent["attempts"], sent["log"][0]["status"]) == ("delivered", 1, 200)
    assert set(sent["log"][0]) == {"at", "status", "error", "milliseconds"}
    assert at.verifies(secret) == [True]

    status, again, lines = api("post", f"webhook-deliveries/{row['id']}/redeliver/")
    assert (status, again["id"], again["state"], lines) == (202, row["id"], "pending", ["webhook.redeliver"])

    status, turned, lines = api("post", path + "rotate-secret/")
    assert (status, lines) == (200, ["webhook.rotate_secret"])
    assert turned["secret"].startswith("whsec_")
    assert turned["secret"] != secret

    status, changed, lines = api("patch", path, {"events": ["run.failed"], "active": False})
    assert (status, changed["events"], changed["active"], lines) == (200, ["run.failed"], False, ["webhook.change"])
    assert api("post", path + "test/")[0] == 400
    assert api("delete", path) == (204, None, ["webhook.delete"])
    assert api("get", path)[0] == 404


def test_deliveries_are_listed_by_webhook_state_and_event(api: Api, at: Receiver, world: World) -> None:
    with tenant(world.acme.pk):
        first, _ = webhooks.create_webhook(at.url, ["post.published"])
        second, _ = webhooks.create_webhook(at.url, ["post.published", "run.failed"])
        webhooks.emit("post.published", POST)
        webhooks.emit("run.failed", {"state": "failed"})
        take_turn(first.pk)

    def listed(query: str) -> list[tuple[str, str]]:
        found = api("get", f"webhook-deliveries/?{query}")[1]["results"]
        return sorted((row["webhook"], row["event"]) for row in found)

    assert len(listed("")) == 3
    assert listed(f"webhook={first.pk}") == [(str(first.pk), "post.published")]
    assert listed("event=run.failed") == [(str(second.pk), "run.failed")]
    assert listed("state=delivered") == [(str(first.pk), "post.published")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": ""}, "url"),
        ({"events": []}, "events"),
        ({"events": ["post.eaten"]}, "events"),
        ({"events": "post.published"}, "events"),
        ({"description": "x" * 201}, "description"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused_field_by_field(body: dict[str, Any], field: str, api: Api) -> None:
    good = {"url": "https://93.184.216.34/", "events": ["post.published"]}
    status, problem, lines = api("post", "webhooks/", good | body)
    assert (status, list(problem["errors"]), lines) == (400, [field], [])


def test_no_answer_ever_shows_a_secret_again(api: Api, at: Receiver, world: World) -> None:
    made = api("post", "webhooks/", {"url": at.url, "events": ["post.published"]})[1]
    turned = api("post", f"webhooks/{made['id']}/rotate-secret/")[1]
    api("post", f"webhooks/{made['id']}/test/")
    answers = [
        api("get", "webhooks/"),
        api("get", f"webhooks/{made['id']}/"),
        api("patch", f"webhooks/{made['id']}/", {"description": "x"}),
        api("get", "webhook-deliveries/"),
    ]
    with tenant(world.acme.pk):
        sealed = Webhook.objects.get().secrets
    for secret in (made["secret"], turned["secret"], sealed):
        assert secret not in repr(answers)


def test_every_event_stands_in_the_schema_with_its_example(db: None) -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    properties = schema["components"]["schemas"]["Webhook"]["properties"]
    reading = schema["paths"]["/api/v1/organizations/{slug}/webhook-deliveries/{id}/"]["get"]
    examples = reading["responses"]["200"]["content"]["application/json"]["examples"]
    assert [example["value"]["event"] for example in examples.values()] == list(EVENTS)
    for name, event in EVENTS.items():
        assert f"`{name}`: {event.description}" in properties["events"]["description"]


def test_nobody_without_the_permission_gets_anything(made: Any, world: World) -> None:
    client = Client()
    client.force_login(world.bob)
    for path in ("webhooks/", f"webhooks/{made.webhook.pk}/", "webhook-deliveries/"):
        assert client.get(f"/api/v1/organizations/acme/{path}").status_code == 403
