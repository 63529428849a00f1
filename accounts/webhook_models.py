"""Webhooks: where an organization wants to be told of events, and each message that was or will be sent there."""

from __future__ import annotations

import uuid

from django.db import models

from accounts.tenancy import TenantModel


class Webhook(TenantModel):
    """An address that is told of events. Its secrets are sealed like credentials."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    url = models.CharField(max_length=500)
    description = models.CharField(max_length=200, blank=True)
    events = models.JSONField(default=list, help_text="Names of the events to be told of.")
    active = models.BooleanField(default=True)
    secrets = models.TextField(
        blank=True, editable=False, help_text="Sealed signing secrets: after a rotation the old one signs too."
    )
    failing_since = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=300, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["organization", "id"], name="webhook_of_organization")]
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(TenantModel):
    """One message to one webhook: its id is the `webhook-id` that every attempt carries."""

    class State(models.TextChoices):
        PENDING = "pending", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Given up"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=60)
    payload = models.JSONField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    log = models.JSONField(default=list, help_text="The latest attempts: when, status or error, seconds.")
    next_attempt_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["pending", "delivered", "failed"]), name="webhook_delivery_state"
            ),
        ]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=models.Q(state="pending"), name="webhook_delivery_due"),
            models.Index(fields=["webhook", "-created_at"], name="webhook_delivery_of"),
        ]
        ordering = ["-created_at", "-id"]
