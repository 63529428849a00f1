"""What the operator of an installation decides about what is published on it: rules that hold for every bot, reports
from outside, posts taken down with their evidence, and sanctions with their appeals.
"""

from __future__ import annotations

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts import clock
from accounts.tenancy import TenantModel
from bots.models import Bot, Post


class SiteRule(models.Model):
    """A moderation rule of the whole installation: a kind of check with settings of its own, and what it leads to.
    Its verdicts on posts carry `name_of_verdicts`.
    """

    class Outcome(models.TextChoices):
        FLAG = "flag", "A person looks at the post"
        BLOCK = "block", "The post is blocked"

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=40, help_text="A name of bots/moderation/registry.py.")
    settings = models.JSONField(default=dict, blank=True)
    outcome = models.CharField(max_length=5, choices=Outcome.choices, default=Outcome.FLAG)
    severity = models.PositiveSmallIntegerField(
        default=2, validators=[MinValueValidator(1), MaxValueValidator(5)], help_text="1 (mild) to 5 (grave)."
    )
    message = models.CharField(max_length=200, blank=True, help_text="What the bot's people are told.")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(outcome__in=["flag", "block"]), name="site_rule_outcome"),
            models.CheckConstraint(condition=Q(severity__gte=1, severity__lte=5), name="site_rule_severity"),
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def name_of_verdicts(self) -> str:
        return f"site:{self.pk}"


class Report(TenantModel):
    """Somebody says that a published post should not be there."""

    class Category(models.TextChoices):
        ILLEGAL = "illegal", "Illegal"
        THREAT = "threat", "Threatens or incites violence"
        HATE = "hate", "Hate or harassment"
        PERSONAL_DATA = "personal_data", "Personal data"
        DECEPTION = "deception", "Deceives: impersonation, scam"
        COPYRIGHT = "copyright", "Copies somebody's work"
        SPAM = "spam", "Spam"
        OTHER = "other", "Something else"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        UPHELD = "upheld", "Upheld"
        DISMISSED = "dismissed", "Dismissed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="reports")
    category = models.CharField(max_length=16, choices=Category.choices)
    text = models.TextField(blank=True, max_length=2000)
    reporter_email = models.EmailField(blank=True, help_text="To be told of the decision; may be left out.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    created_at = models.DateTimeField(default=clock.now)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)
    note = models.CharField(max_length=500, blank=True, help_text="Why it was decided so.")

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(state__in=["open", "upheld", "dismissed"]), name="report_state"),
        ]
        indexes = [models.Index(fields=["created_at"], condition=Q(state="open"), name="report_open")]
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.get_category_display()}: {self.text[:60]}"


class Takedown(TenantModel):
    """A post that the operator took down, with what it was: the evidence stays when the post, or its bot, is gone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    post_id = models.UUIDField(unique=True)
    bot_id = models.UUIDField()
    reason = models.CharField(max_length=500)
    evidence = models.JSONField(
        help_text="Text, SHA-256 of text and images, platform, address, times, author arm, model version, verdicts, "
        "latest reactions and reports, as they were."
    )
    by = models.CharField(max_length=200)
    at = models.DateTimeField(default=clock.now)
    removed_at = models.DateTimeField(null=True, help_text="When the platform confirmed that the post is gone.")
    error = models.CharField(max_length=500, blank=True, help_text="Why it is not gone yet.")
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["organization", "id"], name="takedown_of_organization")]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="takedown_due")
        ]
        ordering = ["-at", "-id"]

    def __str__(self) -> str:
        return self.reason[:60]


class Sanction(TenantModel):
    """What the operator imposed on a bot, or on its whole organization (`bot` null), with notice and appeal."""

    class Grade(models.TextChoices):
        WARNING = "warning", "Warning"
        REVIEW = "review", "A person approves every post"
        SUSPENSION = "suspension", "Publishes nothing"

    class Appeal(models.TextChoices):
        NONE = "none", "No appeal"
        OPEN = "open", "Appeal waits for a decision"
        GRANTED = "granted", "Appeal granted"
        REFUSED = "refused", "Appeal refused"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey(Bot, null=True, blank=True, on_delete=models.CASCADE, related_name="sanctions")
    takedown = models.ForeignKey(Takedown, null=True, blank=True, on_delete=models.SET_NULL, related_name="sanctions")
    grade = models.CharField(max_length=10, choices=Grade.choices)
    reason = models.CharField(max_length=1000, help_text="What its people are told.")
    by = models.CharField(max_length=200)
    at = models.DateTimeField(default=clock.now)
    until = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is lifted.")
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=200, blank=True)
    appeal = models.CharField(max_length=8, choices=Appeal.choices, default=Appeal.NONE)
    appeal_text = models.TextField(blank=True, max_length=4000)
    appealed_by = models.CharField(max_length=200, blank=True)
    appealed_at = models.DateTimeField(null=True)
    appeal_answer = models.TextField(blank=True, max_length=4000)
    appeal_decided_by = models.CharField(max_length=200, blank=True)
    appeal_decided_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(grade__in=["warning", "review", "suspension"]), name="sanction_grade"),
            models.CheckConstraint(
                condition=Q(appeal__in=["none", "open", "granted", "refused"]), name="sanction_appeal"
            ),
        ]
        indexes = [
            models.Index(fields=["organization"], condition=Q(lifted_at=None), name="sanction_in_force"),
            models.Index(fields=["appealed_at"], condition=Q(appeal="open"), name="sanction_appealed"),
        ]
        ordering = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.get_grade_display()}: {self.reason[:60]}"
