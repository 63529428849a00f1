"""Webhooks: made, changed, turned, tested; and `emit`, by which services tell of events (docs/webhooks.md).

Sending is `accounts/webhook_sending.py`'s. A message is a row that is written in the transaction of what it tells of:
both are committed, or neither.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import requests
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.urls import reverse

from accounts import audit, clock, outbound, vault
from accounts.doorbell import ring
from accounts.models import Organization, Webhook, WebhookDelivery
from accounts.notifications import settle, tell
from accounts.tenancy import active
from accounts.webhook_events import EVENTS, TEST, message

MOST_WEBHOOKS = 20
"""Of one organization: each costs a look and a row at every event."""
SECRET_PREFIX = "whsec_"  # nosec B105 # what every secret begins with
OVERLAP = timedelta(hours=24)
"""How long a secret that was replaced still signs, beside the new one."""
SEND = "accounts.tasks.send_webhook"
OFF = "This webhook is off: switch it on first."

_WANTING = """
    SELECT webhook.id, organization.slug
    FROM accounts_webhook webhook JOIN accounts_organization organization ON organization.id = webhook.organization_id
    WHERE webhook.organization_id = %s AND webhook.active AND webhook.events @> %s::jsonb
    FOR KEY SHARE OF webhook
"""


def emit(event: str, *happened: Mapping[str, Any]) -> None:
    """Tell the active organization's webhooks that want to know what happened, each with a message of its own. To be
    called in the transaction of what happened; one query when nobody wants to know. Raises KeyError for an event that
    is not in the table.

    What happened is JSON-able: ids and states (accounts/webhook_events.py), never a text or a credential.
    """
    EVENTS[event]  # a typing error is not a "nobody wants to know"
    with transaction.atomic(savepoint=False):
        with connection.cursor() as cursor:
            # The lock keeps a webhook from being deleted under its new message, whose foreign key is checked at commit:
            # that would undo what the message tells of.
            cursor.execute(_WANTING, [active(), json.dumps([event])])
            wanting = cursor.fetchall()
        for data in happened if wanting else ():
            _write([webhook_id for webhook_id, _ in wanting], event, message(event, wanting[0][1], data, clock.now()))


def _write(webhook_ids: Iterable[UUID], event: str, payload: Mapping[str, Any]) -> list[WebhookDelivery]:
    now = clock.now()
    rows: list[WebhookDelivery] = WebhookDelivery.objects.bulk_create(
        WebhookDelivery(webhook_id=pk, event=event, payload=payload, next_attempt_at=now) for pk in webhook_ids
    )
    for row in rows:
        ring(SEND, row.organization_id, row.webhook_id)
    return rows


def create_webhook(url: str, events: list[str], description: str = "") -> tuple[Webhook, str]:
    """Make a webhook. Returns it with its signing secret, which is shown this once. Raises ValidationError, saying
    field by field what is wrong.
    """
    fields = _checked({"url": url, "events": events, "description": description})
    with transaction.atomic():
        # One at a time, or two would both be the last that is allowed.
        Organization.objects.select_for_update(no_key=True).get(pk=active())
        if Webhook.objects.count() >= MOST_WEBHOOKS:
            raise ValidationError(f"An organization has at most {MOST_WEBHOOKS} webhooks: delete one that is not used.")
        webhook = Webhook(organization_id=active(), **fields)
        secret = _new_secret()
        _seal(webhook, {"current": secret})
        webhook.save()
        audit.record("webhook.create", webhook, after=fields)
    return webhook, secret


def change_webhook(webhook_id: UUID | str, **changes: Any) -> Webhook:
    """Change a webhook's `url`, `events`, `description` or whether it is `active`. Switched off, it gives up what
    waits; switched on, it starts with a clean slate. Raises ValidationError.
    """
    fields = _checked(changes)
    with transaction.atomic():
        webhook = locked(webhook_id)
        before = {name: getattr(webhook, name) for name in fields}
        for name, value in fields.items():
            setattr(webhook, name, value)
        if webhook.active:
            webhook.failing_since, webhook.disabled_reason = None, ""
            settle("webhook.disabled", f"webhook {webhook.pk}")
        else:
            _give_up_waiting(webhook)
        webhook.save()
        audit.record("webhook.change", webhook, before=before, after=fields)
    return webhook


@transaction.atomic
def delete_webhook(webhook_id: UUID | str) -> None:
    """Delete a webhook with its log; what waits is not sent."""
    webhook = Webhook.locked(webhook_id)  # for update: it waits for events that are being told
    audit.record("webhook.delete", webhook, before={"url": webhook.url, "events": webhook.events})
    webhook.delete()


@transaction.atomic
def rotate_secret(webhook_id: UUID | str) -> tuple[Webhook, str]:
    """Give a webhook a new signing secret, which is shown this once. For 24 hours the old one signs too, so that
    receivers can change over.
    """
    webhook = locked(webhook_id)
    secret, until = _new_secret(), clock.now() + OVERLAP
    old = vault.unseal(webhook, "secrets", webhook.secrets).get("current")
    _seal(webhook, {"current": secret, "previous": old, "previous_until": until.isoformat()})
    webhook.save(update_fields=["secrets"])
    audit.record("webhook.rotate_secret", webhook, after={"previous_until": until.isoformat()})
    return webhook, secret


@transaction.atomic
def send_test(webhook_id: UUID | str) -> WebhookDelivery:
    """Send a message that says nothing, to see whether it arrives. Raises ValidationError when the webhook is off."""
    webhook = locked(webhook_id)
    if not webhook.active:
        raise ValidationError(OFF)
    (row,) = _write([webhook.pk], TEST, message(TEST, webhook.organization.slug, {}, clock.now()))
    audit.record("webhook.test", webhook, after={"delivery": str(row.pk)})
    return row


@transaction.atomic
def redeliver(delivery_id: UUID | str) -> WebhookDelivery:
    """Send a message again, under its own id and from the first attempt on. Raises ValidationError when the webhook is
    off.
    """
    row: WebhookDelivery = (
        WebhookDelivery.objects.select_for_update(of=("self",)).select_related("webhook").get(pk=delivery_id)
    )
    if not row.webhook.active:
        raise ValidationError(OFF)
    before = {"state": row.state}
    row.state, row.attempts, row.next_attempt_at = WebhookDelivery.State.PENDING, 0, clock.now()
    row.lease_until = None  # an attempt under way books nothing any more
    row.save(update_fields=["state", "attempts", "next_attempt_at", "lease_until"])
    audit.record("webhook.redeliver", row, before=before, after={"webhook": str(row.webhook_id), "event": row.event})
    ring(SEND, row.organization_id, row.webhook_id)
    return row


@transaction.atomic
def disable(webhook_id: UUID | str, reason: str) -> None:
    """Switch a webhook off that cannot be reached, and tell the owners."""
    webhook = locked(webhook_id)
    if not webhook.active:
        return
    webhook.active, webhook.disabled_reason = False, reason[:300]
    webhook.save(update_fields=["active", "disabled_reason"])
    _give_up_waiting(webhook)
    audit.record("webhook.disable", webhook, before={"active": True}, after={"active": False, "reason": reason})
    tell(
        "webhook.disabled",
        "A webhook was switched off",
        reverse("accounts:webhook", args=[webhook.organization.slug, webhook.pk]),
        f"{webhook.url[:200]} is told of nothing any more: {reason[:150]} Mend the receiver, then switch the webhook "
        "on again; what did not arrive can be sent again.",
        subject=f"webhook {webhook.pk}",
    )


def secrets_of(webhook: Webhook, now: datetime) -> list[str]:
    """The secrets that sign at this moment, the current one first. Raises VaultError."""
    sealed = vault.unseal(webhook, "secrets", webhook.secrets)
    found = [sealed["current"]]
    if sealed.get("previous") and now < datetime.fromisoformat(sealed["previous_until"]):
        found.append(sealed["previous"])
    return found


def locked(webhook_id: UUID | str) -> Webhook:
    """A webhook, its row held until the transaction ends; events may still be told meanwhile. Raises DoesNotExist."""
    found: Webhook = (
        Webhook.objects.select_for_update(of=("self",), no_key=True).select_related("organization").get(pk=webhook_id)
    )
    return found


def _give_up_waiting(webhook: Webhook) -> None:
    waiting = WebhookDelivery.objects.filter(webhook=webhook, state=WebhookDelivery.State.PENDING)
    waiting.update(state=WebhookDelivery.State.FAILED, next_attempt_at=None)


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _seal(webhook: Webhook, secret: dict[str, Any]) -> None:
    webhook.secrets = vault.seal(webhook, "secrets", secret)


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are stored. Raises ValidationError."""
    clean = dict(fields)
    if "url" in clean:
        clean["url"] = _checked_url(clean["url"])
    if "events" in clean:
        unknown = sorted(set(clean["events"]) - set(EVENTS))
        if unknown:
            raise ValidationError({"events": f"There is no event “{unknown[0]}”. Known are: {', '.join(EVENTS)}."})
        if not clean["events"]:
            raise ValidationError({"events": "Choose at least one event."})
        clean["events"] = [name for name in EVENTS if name in clean["events"]]
    if "description" in clean:
        clean["description"] = clean["description"].strip()
        if len(clean["description"]) > 200 or "\0" in clean["description"]:
            raise ValidationError({"description": "Use at most 200 characters."})
    return clean


def _checked_url(url: str) -> str:
    url = url.strip()
    if len(url) > 500:
        raise ValidationError({"url": "Use at most 500 characters."})
    try:
        outbound.check_url(url)
    except outbound.Forbidden as error:
        raise ValidationError({"url": str(error)}) from None
    except requests.ConnectionError as error:
        raise ValidationError({"url": f"{error} Check the address."}) from None
    return url
