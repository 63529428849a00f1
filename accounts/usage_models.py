"""What an organization consumed, by day."""

from __future__ import annotations

from django.db import models

from accounts.tenancy import TenantModel


class Consumption(TenantModel):
    """How much of one quota an organization used on one day (UTC)."""

    quota = models.CharField(max_length=30)
    day = models.DateField()
    amount = models.FloatField(default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "quota", "day"], name="consumption_once"),
        ]
