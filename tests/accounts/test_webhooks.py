"""Webhooks: signed, told in the transaction of what happened, and never to another organization."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import connections, transaction
from django.urls import resolve
from django.utils import timezone
from pytest_django import Settings
from pytest_django.fixtures import DjangoAssertNumQueries

from accounts import clock, webhook_sending, webhooks
from accounts.models import AuditEntry, Webhook, WebhookDelivery
from accounts.rotation import rotate_keys
from accounts.services import create_organization
from accounts.tenancy import tenant
from accounts.webhook_events import EVENTS, message
from accounts.webhook_sending import PATIENCE, signature, take_turn
from kilroy_site.celery import app
from tests.accounts.webhook_receiver import Receiver, verified
from tests.factories import World, make_user
from tests.telling import mailed

POST = {"post": "3f0d6a3e-58a7-4d53-8a43-2f9f6a2b7c11", "state": "published"}
PENDING, DELIVERED, FAILED = WebhookDelivery.State
AN_HOUR = timedelta(hours=1)


def make(at: Receiver, *events: str) -> tuple[Webhook, str]:
    return webhooks.create_webhook(at.url, list(events or ("post.published",)))


def only() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


# What is signed


def test_signatures_are_those_of_the_specifications_test_vector() -> None:
    """libraries/javascript/src/webhook.test.ts: “sign function works”."""
    key, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_gets_a_signed_message_that_says_what_happened(
    acme: World, at: Receiver, settings: Settings
) -> None:
    webhook, secret = make(at)
    with clock.simulated(timezone.now()) as now:
        webhooks.emit("post.published", POST)
        now.advance(timedelta(seconds=3))
        assert take_turn(webhook.pk) == 1
        (request,) = at.got
        assert request.headers["webhook-timestamp"] == str(int(now.current.timestamp()))
    delivery = only()
    assert (request.method, request.path, request.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert request.headers["webhook-id"] == str(delivery.pk)
    assert at.verifies(secret) == [True]
    assert not verified(secret, request.headers, request.body + b" ")
    assert not verified(secret, request.headers | {"webhook-id": "another"}, request.body)
    assert not verified(secret, request.headers | {"webhook-timestamp": "1"}, request.body)
    address = f"{settings.PUBLIC_URL}/api/v1/organizations/acme/posts/{POST['post']}/"
    assert request.json == {
        "type": "post.published",
        "timestamp": (now.current - timedelta(seconds=3)).isoformat(),
        "data": {**POST, "organization": "acme", "urls": {"post": address}},
    }
    (entry,) = delivery.log
    assert (delivery.state, delivery.attempts, entry["status"], entry["error"]) == (DELIVERED, 1, 200, "")
    assert 0 <= entry["milliseconds"] < 10_000


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_described_and_its_example_is_a_message(name: str) -> None:
    said = message(name, "acme", EVENTS[name].example, timezone.now())
    assert json.loads(json.dumps(said)) == said
    assert EVENTS[name].description.endswith(".")
    for key, url in said["data"]["urls"].items():
        assert resolve("/" + url.split("/", 3)[3]).kwargs["pk"] == EVENTS[name].example[key]


def test_the_secret_is_sealed_and_in_no_other_place(acme: World, at: Receiver) -> None:
    webhook, secret = make(at)
    _, second = webhooks.rotate_secret(webhook.pk)
    webhooks.send_test(webhook.pk)
    take_turn(webhook.pk)
    rows = [*Webhook.objects.values(), *WebhookDelivery.objects.values(), *AuditEntry.objects.values()]
    told = repr(rows) + repr([(request.headers, request.body) for request in at.got])
    assert len(secret) == len(second) == 50
    for each in (secret, second):
        assert each.removeprefix("whsec_") not in told


# Telling


def test_an_event_that_nobody_wants_costs_one_query(
    acme: World, at: Receiver, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    webhook, _ = make(at, "run.finished")
    with django_assert_num_queries(1):
        webhooks.emit("post.published", POST)
    webhooks.change_webhook(webhook.pk, active=False)
    with django_assert_num_queries(1):
        webhooks.emit("run.finished", {})
    assert WebhookDelivery.objects.count() == 0
    with pytest.raises(KeyError):
        webhooks.emit("post.publisht", POST)


def test_a_message_is_committed_with_what_it_tells_of(acme: World, at: Receiver) -> None:
    make(at)
    with transaction.atomic():
        webhooks.emit("post.published", POST)
        assert WebhookDelivery.objects.count() == 1
        transaction.set_rollback(True)
    assert WebhookDelivery.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_webhook_that_is_deleted_meanwhile_undoes_nothing(at: Receiver) -> None:
    """Whoever deletes waits for whoever tells, and takes the new message along."""
    organization = create_organization("Acme", make_user())
    failed: list[Exception] = []

    def delete() -> None:
        try:
            with tenant(organization.pk):
                webhooks.delete_webhook(webhook.pk)
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    with tenant(organization.pk):
        webhook, _ = make(at)
        deleting = threading.Thread(target=delete)
        with transaction.atomic():
            webhooks.emit("post.published", POST)
            deleting.start()
            deleting.join(0.3)
            assert deleting.is_alive()
        deleting.join(10)
        assert (failed, Webhook.objects.count(), WebhookDelivery.objects.count()) == ([], 0, 0)


def test_the_doorbell_rings_once_the_message_is_committed(
    acme: World, at: Receiver, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(app, "send_task", lambda name, args, **how: rung.append((name, args)))
    webhook, _ = make(at)
    with django_capture_on_commit_callbacks(execute=True):
        webhooks.emit("post.published", POST)
        assert rung == []
    assert rung == [("accounts.tasks.send_webhook", [str(acme.acme.pk), str(webhook.pk)])]
    app.loader.import_default_modules()
    assert rung[0][0] in app.tasks


def test_two_organizations_never_mix(world: World, at: Receiver, elsewhere: Receiver) -> None:
    with tenant(world.globex.pk):
        theirs, their_secret = make(elsewhere, "post.published", "run.failed")
        webhooks.emit("run.failed", {"state": "failed"})
    with tenant(world.acme.pk):
        ours, our_secret = make(at, "post.published", "run.failed")
        webhooks.emit("post.published", POST)
        webhooks.emit("run.failed", {"state": "failed"})
        assert take_turn(theirs.pk) == 0
        assert take_turn(ours.pk) == 2
    with tenant(world.globex.pk):
        assert take_turn(ours.pk) == 0
        assert take_turn(theirs.pk) == 1
    assert sorted(said["type"] for said in at.messages) == ["post.published", "run.failed"]
    assert {said["data"]["organization"] for said in at.messages} == {"acme"}
    assert [said["data"]["organization"] for said in elsewhere.messages] == ["globex"]
    assert (at.verifies(our_secret), elsewhere.verifies(their_secret)) == ([True, True], [True])
    assert at.verifies(their_secret) == [False, False]


# Off


def test_410_switches_a_webhook_off(acme: World, at: Receiver, django_capture_on_commit_callbacks: Any) -> None:
    webhook, _ = make(at)
    at.status = 410
    webhooks.emit("post.published", POST)
    webhooks.emit("post.published", POST)
    with django_capture_on_commit_callbacks(execute=True):
        take_turn(webhook.pk)
    webhook.refresh_from_db()
    assert (webhook.active, "410" in webhook.disabled_reason) == (False, True)
    assert set(WebhookDelivery.objects.values_list("state", "next_attempt_at")) == {(FAILED, None)}
    assert mailed() == ["Kilroy: A webhook was switched off"]
    assert mail.outbox[0].to == ["alice@kilroy.example"]
    assert webhook.url in mail.outbox[0].body
    assert AuditEntry.objects.get(action="webhook.disable").after["active"] is False
    assert take_turn(webhook.pk) == 0


def test_a_webhook_that_fails_for_days_is_switched_off_and_the_owners_are_told(
    acme: World, at: Receiver, django_capture_on_commit_callbacks: Any
) -> None:
    webhook, _ = make(at)
    at.status = 500
    with clock.simulated(timezone.now()) as now, django_capture_on_commit_callbacks(execute=True):
        for wait in (timedelta(0), PATIENCE - AN_HOUR, AN_HOUR):
            assert Webhook.objects.get().active
            now.advance(wait)
            webhooks.emit("post.published", POST)
            take_turn(webhook.pk)
    webhook.refresh_from_db()
    assert (webhook.active, webhook.disabled_reason) == (False, "nothing has arrived for 5 days.")
    assert len(mailed()) == 1
    again = webhooks.change_webhook(webhook.pk, active=True)
    assert (again.active, again.failing_since, again.disabled_reason) == (True, None, "")


def test_one_success_starts_the_days_anew(acme: World, at: Receiver) -> None:
    webhook, _ = make(at)
    with clock.simulated(timezone.now()) as now:
        for status in (500, 200, 500):
            at.status = status
            webhooks.emit("post.published", POST)
            take_turn(webhook.pk)
            now.advance(timedelta(days=3))
    assert Webhook.objects.get().active


def test_what_is_switched_off_is_told_nothing(acme: World, at: Receiver) -> None:
    webhook, _ = make(at)
    webhooks.emit("post.published", POST)
    webhooks.change_webhook(webhook.pk, active=False)
    webhooks.emit("post.published", POST)
    assert only().state == FAILED
    assert (take_turn(webhook.pk), webhook_sending.ring_due()) == (0, 0)
    for refused in (lambda: webhooks.send_test(webhook.pk), lambda: webhooks.redeliver(only().pk)):
        with pytest.raises(ValidationError, match="switch it on"):
            refused()
    assert at.got == []


# Secrets


def test_for_a_day_after_a_rotation_both_secrets_verify(acme: World, at: Receiver) -> None:
    webhook, old = make(at)
    with clock.simulated(timezone.now()) as now:
        _, new = webhooks.rotate_secret(webhook.pk)
        for wait in (timedelta(0), timedelta(hours=23, minutes=59), timedelta(minutes=1)):
            now.advance(wait)
            webhooks.emit("post.published", POST)
            take_turn(webhook.pk)
    assert at.verifies(new) == [True, True, True]
    assert at.verifies(old) == [True, True, False]
    assert [len(request.headers["webhook-signature"].split(" ")) for request in at.got] == [2, 2, 1]


def test_secrets_survive_a_change_of_keys(acme: World, at: Receiver, settings: Settings) -> None:
    webhook, secret = make(at)
    settings.CREDENTIAL_KEYS = {"second": bytes(32), **settings.CREDENTIAL_KEYS}
    assert rotate_keys().resealed == 1
    settings.CREDENTIAL_KEYS = {"second": bytes(32)}
    webhooks.emit("post.published", POST)
    take_turn(webhook.pk)
    assert at.verifies(secret) == [True]


# Making and changing


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"events": []}, "at least one event"),
        ({"events": ["post.eaten"]}, "no event “post.eaten”"),
        ({"url": "http://example.org/"}, "must be reached by https"),
        ({"url": "https://127.0.0.1/"}, "no public address"),
        ({"url": "https://no-such-name.invalid/"}, "does not resolve"),
        ({"url": "https://93.184.216.34/" + "x" * 500}, "at most 500"),
        ({"description": "x" * 201}, "at most 200"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused_in_words(fields: dict[str, Any], words: str, acme: World) -> None:
    good: dict[str, Any] = {"url": "https://93.184.216.34/hook", "events": ["post.published"], "description": ""}
    with pytest.raises(ValidationError, match=words):
        webhooks.create_webhook(**good | fields)
    webhook, _ = webhooks.create_webhook(**good)
    with pytest.raises(ValidationError, match=words):
        webhooks.change_webhook(webhook.pk, **fields)


def test_an_organization_has_so_many_webhooks_and_no_more(
    acme: World, at: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MOST_WEBHOOKS", 1)
    make(at)
    with pytest.raises(ValidationError, match="at most 1"):
        make(at)


def test_every_write_leaves_a_line_with_before_and_after(acme: World, at: Receiver) -> None:
    webhook, _ = make(at)
    webhooks.change_webhook(webhook.pk, events=["run.failed"])
    webhooks.rotate_secret(webhook.pk)
    webhooks.send_test(webhook.pk)
    webhooks.delete_webhook(webhook.pk)
    lines = AuditEntry.objects.filter(action__startswith="webhook.").order_by("pk")
    assert [line.action.split(".")[1] for line in lines] == ["create", "change", "rotate_secret", "test", "delete"]
    assert (lines[1].before, lines[1].after) == ({"events": ["post.published"]}, {"events": ["run.failed"]})
    assert WebhookDelivery.objects.count() == 0
