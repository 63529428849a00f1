"""Sending to webhooks: at least once, with patience, and without keeping workers from others."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from accounts import clock, tasks, webhook_sending, webhooks
from accounts.models import AuditEntry, Webhook, WebhookDelivery
from accounts.services import create_organization
from accounts.tenancy import tenant
from accounts.webhook_sending import RETRIES, take_turn
from tests.accounts.webhook_receiver import Receiver
from tests.factories import World, make_user

POST = {"post": "3f0d6a3e-58a7-4d53-8a43-2f9f6a2b7c11", "state": "published"}
PENDING, DELIVERED, FAILED = WebhookDelivery.State
AN_HOUR = timedelta(hours=1)


def make(at: Receiver, *events: str) -> tuple[Webhook, str]:
    return webhooks.create_webhook(at.url, list(events or ("post.published",)))


def only() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def lapse(delivery: WebhookDelivery) -> None:
    """Let the lease of whoever has it run out."""
    WebhookDelivery.objects.filter(pk=delivery.pk).update(lease_until=timezone.now() - AN_HOUR)


# Failing, and trying again


def test_a_failed_message_is_sent_again_with_growing_patience_under_one_id(acme: World, at: Receiver) -> None:
    webhook, secret = make(at)
    at.status = 500
    with clock.simulated(timezone.now()) as now:
        webhooks.emit("post.published", POST)
        assert take_turn(webhook.pk) == 1
        for number, wait in enumerate(RETRIES, 1):
            row = only()
            assert (row.state, row.attempts) == (PENDING, number)
            assert 0.9 * wait <= row.next_attempt_at - now.current <= 1.1 * wait
            now.advance(0.89 * wait)
            assert take_turn(webhook.pk) == 0
            now.advance(0.22 * wait)
            assert take_turn(webhook.pk) == 1
    row = only()
    assert (row.state, row.attempts, row.next_attempt_at, len(row.log)) == (FAILED, 8, None, 8)
    assert len({request.headers["webhook-id"] for request in at.got}) == 1
    assert len({request.headers["webhook-timestamp"] for request in at.got}) == 8
    assert at.verifies(secret) == [True] * 8


def test_a_message_that_arrives_at_last_is_delivered(acme: World, at: Receiver) -> None:
    webhook, _ = make(at)
    at.status = 503
    with clock.simulated(timezone.now()) as now:
        webhooks.emit("post.published", POST)
        take_turn(webhook.pk)
        assert Webhook.objects.get().failing_since == now.current
        at.status = 204
        now.advance(timedelta(seconds=6))
        take_turn(webhook.pk)
    row = only()
    assert (row.state, [entry["status"] for entry in row.log]) == (DELIVERED, [503, 204])
    assert Webhook.objects.get().failing_since is None


def test_a_receiver_may_ask_for_more_time(acme: World, at: Receiver) -> None:
    webhook, _ = make(at)
    at.status, at.headers = 429, {"Retry-After": "120"}
    with clock.simulated(timezone.now()) as now:
        webhooks.emit("post.published", POST)
        take_turn(webhook.pk)
        assert only().next_attempt_at == now.current + timedelta(seconds=120)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(status: int, acme: World, at: Receiver) -> None:
    webhook, _ = make(at)
    at.status, at.headers = status, {"Location": f"{at.server.url}/secret"}
    webhooks.emit("post.published", POST)
    take_turn(webhook.pk)
    assert [request.path for request in at.got] == ["/hook"]
    assert (only().state, only().log[0]["status"]) == (PENDING, status)


def test_the_log_keeps_the_latest_ten_attempts(acme: World, at: Receiver) -> None:
    webhook, _ = make(at)
    at.status = 500
    webhooks.emit("post.published", POST)
    for status in range(500, 512):
        at.status = status
        webhooks.redeliver(only().pk)
        take_turn(webhook.pk)
    assert [entry["status"] for entry in only().log] == list(range(502, 512))


def test_redelivery_sends_the_same_message_under_the_same_id(acme: World, at: Receiver) -> None:
    webhook, secret = make(at)
    webhooks.emit("post.published", POST)
    take_turn(webhook.pk)
    webhooks.redeliver(only().pk)
    take_turn(webhook.pk)
    first, second = at.got
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert at.verifies(secret) == [True, True]
    assert AuditEntry.objects.filter(action="webhook.redeliver").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_between_send_and_commit_leaves_the_message_to_the_next(at: Receiver) -> None:
    """A process of its own, ended by SIGKILL as soon as its message has arrived."""
    organization = create_organization("Acme", make_user())
    with tenant(organization.pk):
        webhook, secret = make(at)
        webhooks.emit("post.published", POST)
        connections.close_all()
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGSTOP)  # until the receiver knows whom to kill
            take_turn(webhook.pk)
            os._exit(0)
        answer = at.server.answer
        at.server.answer = lambda request: (os.kill(pid, signal.SIGKILL), answer(request))[1]
        os.waitpid(pid, os.WUNTRACED)
        os.kill(pid, signal.SIGCONT)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
        at.server.answer = answer
        row = only()
        assert (row.state, row.attempts, row.log) == (PENDING, 1, [])
        assert take_turn(webhook.pk) == 0  # the lease of the dead holds
        lapse(row)
        assert webhook_sending.ring_due() == 1
        assert take_turn(webhook.pk) == 1
    first, second = at.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(row.pk)
    assert at.verifies(secret) == [True, True]


def test_who_lost_the_lease_books_nothing(acme: World, at: Receiver) -> None:
    webhook, _ = make(at)
    webhooks.emit("post.published", POST)
    late = webhook_sending._claim(webhook.pk)
    assert late is not None
    lapse(late)
    take_turn(webhook.pk)
    at.status = 500
    webhook_sending.attempt(late)
    assert (only().state, len(only().log), only().attempts) == (DELIVERED, 1, 2)


# Slow ones


@contextmanager
def dripping(first: bytes, settings: Settings) -> Iterator[str]:
    """A server that sends `first` and then a byte every 50 ms, for as long as it is listened to."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(first)
                while not ended.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                pass

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    settings.OUTBOUND_ALLOW |= {("127.0.0.1", listener.getsockname()[1])}
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
    finally:
        ended.set()
        listener.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("first", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", (PENDING, None, "It did not answer within 0.3 seconds.")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", (DELIVERED, 200, "")),
    ],
)
def test_an_answer_drop_by_drop_ends_with_the_time_that_it_has(
    first: bytes,
    outcome: tuple[str, int | None, str],
    acme: World,
    at: Receiver,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook_sending, "SECONDS", 0.3)
    with dripping(first, settings) as url:
        webhook, _ = webhooks.create_webhook(url, ["post.published"])
        webhooks.emit("post.published", POST)
        before, began = signal.getsignal(signal.SIGALRM), time.monotonic()
        take_turn(webhook.pk)
        assert time.monotonic() - began < 3
    row = only()
    assert (row.state, row.log[0]["status"], row.log[0]["error"]) == outcome
    assert signal.getsignal(signal.SIGALRM) is before


def test_at_most_two_messages_of_a_webhook_are_in_flight_and_others_go_on(
    acme: World, at: Receiver, elsewhere: Receiver, settings: Settings
) -> None:
    settings.WEBHOOKS_AT_ONCE = 3
    slow, _ = make(at)
    quick, _ = make(elsewhere)
    webhooks.emit("post.published", POST)
    place = f"webhook:{slow.pk}"
    with webhook_sending._place(place, 2) as one, webhook_sending._place(place, 2) as two:
        assert (one, two) == (True, True)
        assert take_turn(slow.pk) == 0
        assert take_turn(quick.pk) == 1
    assert take_turn(slow.pk) == 1
    Webhook.objects.filter(pk=slow.pk).update(failing_since=timezone.now())
    with webhook_sending._place(f"webhook:{slow.pk}", 1):
        webhooks.emit("post.published", POST)
        assert take_turn(slow.pk) == 0  # one that fails has one place


def test_the_site_keeps_a_worker_for_publishing(acme: World, at: Receiver, settings: Settings) -> None:
    settings.WEBHOOKS_AT_ONCE = 1
    webhook, _ = make(at)
    webhooks.emit("post.published", POST)
    with webhook_sending._place("webhooks", 1):
        assert take_turn(webhook.pk) == 0
    assert take_turn(webhook.pk) == 1


def test_a_turn_ends_at_the_first_failure_and_when_its_time_is_over(
    acme: World, at: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, _ = make(at)
    for _ in range(3):
        webhooks.emit("post.published", POST)
    at.status = 500
    assert take_turn(webhook.pk) == 1
    at.status = 200
    monkeypatch.setattr(webhook_sending, "TURN", 0.0)
    assert take_turn(webhook.pk) == 1
    assert len(at.got) == 2


# What beat does


def test_the_sweep_rings_for_what_is_due_in_every_organization(
    world: World, at: Receiver, elsewhere: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(webhook_sending, "ring", lambda *told: rung.append(told))
    expected = set()
    for organization, where in ((world.acme, at), (world.globex, elsewhere)):
        with tenant(organization.pk):
            webhook, _ = make(where)
            webhooks.emit("post.published", POST)
            webhooks.emit("post.published", POST)
            expected.add(("accounts.tasks.send_webhook", organization.pk, webhook.pk))
    tasks.sweep_webhooks()
    assert set(rung) == expected
    assert len(rung) == 2
    for _, organization_id, webhook_id in expected:
        tasks.send_webhook(str(organization_id), str(webhook_id))
    assert (len(at.got), len(elsewhere.got)) == (2, 2)
    assert webhook_sending.ring_due() == 0


def test_messages_are_kept_for_thirty_days(acme: World, at: Receiver) -> None:
    make(at)
    webhooks.emit("post.published", POST)
    webhooks.emit("post.published", POST)
    old = WebhookDelivery.objects.first()
    WebhookDelivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=30, minutes=1))
    tasks.forget_webhook_deliveries()
    assert only().pk != old.pk


# The documentation's receiver


@pytest.mark.parametrize(("of_its_own", "state"), [(True, DELIVERED), (False, PENDING)])
def test_the_receiver_of_the_documentation_takes_what_is_genuine(
    of_its_own: bool, state: str, acme: World, settings: Settings
) -> None:
    """docs/webhooks.md, as it stands there but for its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", port)})
    webhook, secret = webhooks.create_webhook(f"http://127.0.0.1:{port}/", ["post.published"])
    _, another = webhooks.create_webhook(f"http://127.0.0.1:{port}/", ["run.failed"])
    (code,) = re.findall(r"```python\n(.*?)```", Path(settings.BASE_DIR, "docs/webhooks.md").read_text(), re.DOTALL)
    environment = {**os.environ, "KILROY_WEBHOOK_SECRET": secret if of_its_own else another}
    command = [sys.executable, "-c", code.replace("8080", str(port))]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.02)
        webhooks.emit("post.published", POST)
        take_turn(webhook.pk)
        server.kill()
    assert (only().state, only().log[0]["status"]) == (state, 204 if of_its_own else 401)
