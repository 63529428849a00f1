"""What a run leaves behind besides its models: its numbers in buckets, and what happened to it in words."""

from __future__ import annotations

from django.db import models

from accounts.tenancy import TenantModel
from training.models import Run


class MetricBucket(TenantModel):
    """The points of one metric of a run whose step >> `level` is `number`: a bucket of 2^level steps."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="buckets")
    name = models.CharField(max_length=40)
    level = models.PositiveSmallIntegerField()
    number = models.PositiveIntegerField()
    count = models.PositiveIntegerField()
    total = models.FloatField(help_text="Sum of the values, so that a mean over buckets is the mean over their points.")
    low = models.FloatField()
    low_step = models.PositiveIntegerField()
    high = models.FloatField()
    high_step = models.PositiveIntegerField()
    last = models.FloatField()
    last_step = models.PositiveIntegerField()

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["run", "name", "level", "number"], name="metric_bucket_once")]
        ordering = ["level", "number"]


class RunEvent(TenantModel):
    """One line of a run's log. Alerts name what is wrong; one of a kind is raised once a run."""

    class Level(models.TextChoices):
        INFO = "info", "Information"
        WARNING = "warning", "Warning"
        ALERT = "alert", "Alert"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    step = models.PositiveIntegerField(null=True)
    level = models.CharField(max_length=8, choices=Level.choices, default=Level.INFO)
    kind = models.CharField(
        max_length=30, blank=True, help_text="Of an alert: not_a_number, divergence, overfitting, reward_hacking, …"
    )
    text = models.CharField(max_length=1000)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["run", "kind"], condition=models.Q(level="alert"), name="run_alert_once"),
            models.CheckConstraint(condition=models.Q(level__in=["info", "warning", "alert"]), name="run_event_level"),
        ]
        indexes = [models.Index(fields=["run", "-at", "-id"], name="run_event_newest")]
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return self.text[:80]
