"""Exports of whole organizations."""

from __future__ import annotations

import uuid

from django.db import models

from accounts.tenancy import TenantModel


class Export(TenantModel):
    """A request for everything that an organization has, as a zip, made by a task."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Being made"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    requested_by = models.CharField(max_length=200, blank=True)
    name = models.CharField(max_length=300, blank=True, help_text="Of the file in the storage; empty once removed.")
    size = models.PositiveBigIntegerField(default=0)
    rows = models.JSONField(default=dict, help_text="Model → number of its rows in the export.")
    error = models.CharField(max_length=500, blank=True)
    lease_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["queued", "running", "ready", "failed"]), name="export_state"
            ),
        ]
        ordering = ["-created_at", "-id"]
