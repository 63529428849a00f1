"""How what the accounts room has travels with an organization."""

from __future__ import annotations

from typing import Any

from accounts.exports import Passage, Treatment, register
from accounts.models import WebhookDelivery

IMPORTED = "Imported from another installation"


def register_models() -> None:
    register("accounts.AuditEntry", treatment=Treatment(never=frozenset({"user"}), arrive=_audit_entry))
    register("accounts.Webhook", treatment=Treatment(never=frozenset({"secrets"}), arrive=_webhook))
    register("accounts.WebhookDelivery", treatment=Treatment(arrive=_delivery))
    register(
        "accounts.Membership",
        treatment=Treatment(stays="People are not exported; the manifest lists the members by e-mail and role."),
    )
    register(
        "accounts.Invitation",
        treatment=Treatment(
            never=frozenset({"sha256"}), ends_here="A link is good for one installation: invite again."
        ),
    )
    register(
        "accounts.ApiToken",
        treatment=Treatment(
            never=frozenset({"sha256", "membership"}), ends_here="A token is good for one installation: make new ones."
        ),
    )
    register(
        "accounts.IdempotencyKey", treatment=Treatment(stays="The API's answers of the last day, for its clients.")
    )
    register(
        "accounts.Notification",
        "accounts.NotificationChoice",
        treatment=Treatment(stays="They are their people's, who are not exported."),
    )
    register("accounts.Export", treatment=Treatment(stays="Exports are not part of an export."))
    register(
        "accounts.Consumption",
        treatment=Treatment(ends_here="Each installation counts for itself what its quotas are held against."),
    )


def _audit_entry(row: Any, passage: Passage) -> None:
    row.object_id = passage.named(row.object_type, row.object_id)


def _webhook(row: Any, passage: Passage) -> None:
    row.active = False
    row.disabled_reason = row.disabled_reason or f"{IMPORTED}: give it a new secret, then turn it on."


def _delivery(row: Any, passage: Passage) -> None:
    if row.state == WebhookDelivery.State.PENDING:  # the installation that it comes from delivers it
        row.state = WebhookDelivery.State.FAILED
    row.next_attempt_at = row.lease_until = None
