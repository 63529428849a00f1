"""Links by which people outside see one bot's progress."""

from __future__ import annotations

import uuid

from django.db import models

from accounts.tenancy import TenantModel
from bots.models import Bot


class ShareLink(TenantModel):
    """A read-only page of one bot's progress for whoever has its address, which is the signed id, until revoked."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="share_links")
    label = models.CharField(max_length=120, blank=True, help_text="For whom it was made.")
    shows_posts = models.BooleanField(default=True, help_text="Show its latest published posts too.")
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.label or f"Link of {self.created_at:%Y-%m-%d}"
