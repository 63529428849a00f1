"""The pipeline that needs no person: reading past posts on a schedule, and training on them on a schedule. Fields and
constraints only.
"""

from __future__ import annotations

import uuid

from django.core.validators import MinValueValidator
from django.db import models

from accounts.tenancy import TenantModel


class Harvest(TenantModel):
    """Reading one account's posts into a dataset, again and again. `since` is the time of the newest one that is kept:
    the next reading starts there.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey("bots.Bot", on_delete=models.CASCADE, related_name="harvests")
    connection = models.ForeignKey("faces.Connection", on_delete=models.PROTECT, related_name="harvests")
    dataset = models.OneToOneField("training.Dataset", on_delete=models.CASCADE, related_name="harvest")
    account = models.CharField(
        max_length=300, blank=True, help_text="Whose posts; empty: the connection's own account."
    )
    every_minutes = models.PositiveIntegerField(default=1440, validators=[MinValueValidator(5)])
    active = models.BooleanField(default=True)
    since = models.DateTimeField(null=True, editable=False)
    next_at = models.DateTimeField(null=True, editable=False)
    last_at = models.DateTimeField(null=True, editable=False)
    last_found = models.PositiveIntegerField(default=0, editable=False)
    problem = models.CharField(max_length=500, blank=True, editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="harvest_of_organization"),
            models.UniqueConstraint(fields=["bot", "connection", "account"], name="harvest_once"),
        ]
        indexes = [models.Index(fields=["next_at"], condition=models.Q(active=True), name="harvest_due")]
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.account or self.connection.account or self.connection}"


class Retraining(TenantModel):
    """Fine-tuning a bot again on a schedule, and putting the new version to use when it passes the gate."""

    bot = models.OneToOneField("bots.Bot", on_delete=models.CASCADE, related_name="retraining")
    active = models.BooleanField(default=False)
    every_hours = models.PositiveIntegerField(default=24, validators=[MinValueValidator(1)])
    least_new_examples = models.PositiveIntegerField(
        default=50, help_text="Wait until the bot's datasets have grown by this many posts."
    )
    config = models.JSONField(default=dict, blank=True, help_text="The run's configuration.")
    tag = models.CharField(
        max_length=60,
        default="auto-%Y-%m-%d",
        help_text="Tag of the new version; %Y, %m, %d and %H stand for the time.",
    )
    most_loss_increase = models.FloatField(
        default=0.02, help_text="Gate: the held-out loss may be higher than the current version's by this share."
    )
    make_current = models.BooleanField(default=True, help_text="Put a version that passes the gate to use.")
    learned_examples = models.PositiveIntegerField(default=0, editable=False)
    last_run = models.ForeignKey("training.Run", null=True, on_delete=models.SET_NULL, related_name="+")
    next_at = models.DateTimeField(null=True, editable=False)
    result = models.CharField(max_length=500, blank=True, editable=False, help_text="What came of the last run.")

    def __str__(self) -> str:
        return f"Retraining of {self.bot}"
