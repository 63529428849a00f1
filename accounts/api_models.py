"""What the API remembers of requests, so that one that is sent twice acts once."""

from __future__ import annotations

from django.db import models

from accounts.tenancy import TenantModel


class IdempotencyKey(TenantModel):
    """A request that a client named with `Idempotency-Key`, and its answer for whoever sends it again."""

    caller = models.CharField(max_length=60, help_text="Whose key it is: a token's id or a person's.")
    key = models.CharField(max_length=255)
    request_sha256 = models.CharField(max_length=64, help_text="Of method, path and body.")
    status = models.PositiveSmallIntegerField(null=True, help_text="The answer's; null while the first request runs.")
    headers = models.JSONField(default=dict)
    body = models.TextField(blank=True, help_text="Sealed: answers may hold secrets.")
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "caller", "key"], name="idempotency_key_once"),
        ]
        indexes = [models.Index(fields=["created_at"])]
