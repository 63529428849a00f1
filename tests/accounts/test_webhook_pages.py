"""The pages of webhooks, as an admin uses them."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts import webhooks
from accounts.models import Webhook, WebhookDelivery
from accounts.tenancy import tenant
from accounts.webhook_events import EVENTS
from accounts.webhook_sending import take_turn
from tests.accounts.webhook_receiver import Receiver
from tests.factories import World, client_of


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


@pytest.fixture
def webhook(world: World, at: Receiver) -> Webhook:
    with tenant(world.acme.pk):
        return webhooks.create_webhook(at.url, ["post.published"], "Ours")[0]


def address(name: str, *ids: object) -> str:
    return reverse(f"accounts:{name}", args=["acme", *ids])


def said(answer: object) -> str:
    """A page's words, without its markup."""
    text: str = answer.content.decode()  # type: ignore[attr-defined]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_a_webhook_is_added_and_its_secret_shown_this_once(world: World, alice: Client, at: Receiver) -> None:
    assert "Nobody is told yet" in said(alice.get(address("webhooks")))
    empty = said(alice.get(address("webhook-new")))
    assert all(f"{name} – {event.description}" in empty.replace("&#x27;", "'") for name, event in EVENTS.items())
    answer = alice.post(address("webhook-new"), {"url": at.url, "events": ["post.published", "run.failed"]})
    (secret,) = re.findall(r"whsec_[\w+/=]+", said(answer))
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    with tenant(world.acme.pk):
        webhook = Webhook.objects.get()
    assert webhook.events == ["post.published", "run.failed"]
    for page in (address("webhooks"), address("webhook", webhook.pk)):
        shown = said(alice.get(page))
        assert at.url in shown
        assert secret not in shown


def test_what_is_wrong_with_an_address_stands_beside_it(world: World, alice: Client) -> None:
    answer = alice.post(address("webhook-new"), {"url": "https://127.0.0.1/", "events": ["post.published"]})
    assert answer.status_code == 400
    assert "no public address" in answer.context["form"].errors["url"][0]
    with tenant(world.acme.pk):
        assert Webhook.objects.count() == 0


def test_the_log_tells_how_each_message_fared_and_sends_it_again(
    world: World, alice: Client, at: Receiver, webhook: Webhook
) -> None:
    at.status = 503
    alice.post(address("webhook-test", webhook.pk))
    with tenant(world.acme.pk):
        take_turn(webhook.pk)
        delivery = WebhookDelivery.objects.get()
    page = said(alice.get(address("webhook", webhook.pk)))
    assert [words for words in ("webhook.test", "503", "Failing", str(delivery.pk)) if words not in page] == []
    at.status = 200
    answer = alice.post(address("webhook-redeliver", delivery.pk), follow=True)
    assert "on its way again" in said(answer)
    with tenant(world.acme.pk):
        take_turn(webhook.pk)
    page = said(alice.get(address("webhook", webhook.pk)))
    assert ("Delivered" in page, "Failing" in page) == (True, False)
    assert len({request.headers["webhook-id"] for request in at.got}) == 1


def test_a_webhook_is_changed_turned_switched_off_and_deleted(
    world: World, alice: Client, at: Receiver, webhook: Webhook
) -> None:
    changed = {"url": at.url + "/2", "events": ["run.failed"], "description": "Theirs"}
    assert alice.post(address("webhook-change", webhook.pk), changed).status_code == 302
    assert alice.post(address("webhook-change", webhook.pk), {**changed, "events": []}).status_code == 400
    turned = alice.post(address("webhook-rotate", webhook.pk))
    assert re.search(r"whsec_[\w+/=]+", said(turned))
    alice.post(address("webhook-switch", webhook.pk), {"active": "0"})
    with tenant(world.acme.pk):
        webhook.refresh_from_db()
    assert (webhook.url, webhook.events, webhook.active) == (at.url + "/2", ["run.failed"], False)
    assert "switch it on first" in said(alice.post(address("webhook-test", webhook.pk), follow=True))
    alice.post(address("webhook-switch", webhook.pk), {"active": "1"})
    assert "deleted" in said(alice.post(address("webhook-delete", webhook.pk), follow=True))
    assert alice.get(address("webhook", webhook.pk)).status_code == 404


def test_what_a_receiver_or_a_person_wrote_is_text(world: World, alice: Client, webhook: Webhook) -> None:
    with tenant(world.acme.pk):
        Webhook.objects.filter(pk=webhook.pk).update(
            description="<script>a</script>", disabled_reason="<img src=x>", url="https://x/<svg>", active=False
        )
        webhook.deliveries.create(
            event="<b>", payload={"<i>": "</pre><u>"}, log=[{"at": "<a>", "error": "<s>", "milliseconds": 1}]
        )
    page = alice.get(address("webhook", webhook.pk)).content.decode()
    for hostile in ("<script>a", "<img src=x", "<svg>", "<b>", "<i>", "<u>", "<a>", "<s>"):
        assert hostile not in page


def test_a_viewer_and_a_stranger_see_nothing(world: World, webhook: Webhook) -> None:
    assert client_of(world.bob).get(address("webhooks")).status_code == 403
    assert client_of(world.charlie).get(address("webhook", webhook.pk)).status_code == 404
    assert "Webhooks" not in said(client_of(world.bob).get(reverse("bots:home", args=["acme"])))
