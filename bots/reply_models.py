"""Answering others: a bot's rules, what it saw, and the candidates for each answer. Fields and constraints only."""

from __future__ import annotations

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.tenancy import TenantModel


class ReplyRules(TenantModel):
    """Whom a bot answers, and how much. Off until a person turns it on."""

    bot = models.OneToOneField("bots.Bot", on_delete=models.CASCADE, related_name="reply_rules")
    active = models.BooleanField(default=False, help_text="Look for posts to answer.")
    mentions = models.BooleanField(default=True, help_text="Answer mentions of the account.")
    comments = models.BooleanField(default=True, help_text="Answer comments below its own posts.")
    communities = models.JSONField(
        default=list, blank=True, help_text="Communities whose posts it may answer unasked: their rules must allow it."
    )
    community_permission = models.CharField(
        max_length=500, blank=True, help_text="Where those communities allow bots that answer unasked."
    )
    youngest_minutes = models.PositiveIntegerField(default=0, help_text="Leave younger posts for later.")
    oldest_minutes = models.PositiveIntegerField(
        default=1440, validators=[MinValueValidator(1)], help_text="Skip older posts."
    )
    least_score = models.IntegerField(null=True, blank=True, help_text="Skip posts with fewer likes; empty: any.")
    deepest = models.PositiveSmallIntegerField(default=4, help_text="Skip posts with more posts above them.")
    keywords = models.JSONField(default=list, blank=True, help_text="Only posts with one of these words; empty: any.")
    languages = models.JSONField(default=list, blank=True, help_text="Only these languages, like en; empty: any.")
    answer_bots = models.BooleanField(default=False, help_text="Answer accounts that are marked as automated.")
    per_thread = models.PositiveSmallIntegerField(
        default=2, validators=[MinValueValidator(1)], help_text="Most answers in one thread."
    )
    per_author = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1)], help_text="Most answers to one author in 24 hours."
    )
    per_hour = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1)], help_text="Most answers in an hour."
    )
    candidates = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1), MaxValueValidator(64)], help_text="Answers drawn for each post."
    )
    least_realism = models.FloatField(
        default=0.3,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="Drop candidates that the discriminator holds for real with less than this probability.",
    )
    every_minutes = models.PositiveIntegerField(default=5, validators=[MinValueValidator(1)])
    cursors = models.JSONField(
        default=dict, editable=False, help_text="Source → time of the newest post that was seen."
    )
    next_look_at = models.DateTimeField(null=True, editable=False)
    problem = models.CharField(max_length=500, blank=True, editable=False)

    def __str__(self) -> str:
        return f"Replies of {self.bot}"


class Incoming(TenantModel):
    """A post by somebody else that a bot saw, and what became of it."""

    class State(models.TextChoices):
        CHOSEN = "chosen", "Waiting for an answer"
        SKIPPED = "skipped", "Skipped"
        ANSWERED = "answered", "Answered"
        FAILED = "failed", "Not answered"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey("bots.Bot", on_delete=models.CASCADE, related_name="incoming")
    remote_id = models.CharField(max_length=300)
    root_id = models.CharField(max_length=300, blank=True)
    author = models.CharField(max_length=300, blank=True)
    text = models.TextField(blank=True)
    parents = models.JSONField(default=list, help_text="The posts above, oldest first: [[author, text], …].")
    depth = models.PositiveIntegerField(default=0)
    community = models.CharField(max_length=200, blank=True)
    url = models.CharField(max_length=500, blank=True)
    summoned = models.BooleanField(default=False)
    at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices)
    reason = models.CharField(max_length=300, blank=True, help_text="Why it was skipped, or why there is no answer.")
    answer = models.OneToOneField("bots.Post", null=True, on_delete=models.SET_NULL, related_name="answers")
    fence = models.PositiveIntegerField(default=0, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    seen_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        verbose_name_plural = "incoming"
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="incoming_of_organization"),
            models.UniqueConstraint(fields=["bot", "remote_id"], name="incoming_once"),
            models.CheckConstraint(
                condition=Q(state__in=["chosen", "skipped", "answered", "failed"]), name="incoming_state"
            ),
        ]
        indexes = [
            models.Index(fields=["lease_until"], condition=Q(state="chosen"), name="incoming_chosen"),
            models.Index(fields=["bot", "-seen_at"], name="incoming_of_bot"),
        ]
        ordering = ["-seen_at", "-at"]

    def __str__(self) -> str:
        return self.text[:60]


class ReplyCandidate(TenantModel):
    """One drawn answer with its two scores: whether the better was chosen can be checked afterwards."""

    incoming = models.ForeignKey(Incoming, on_delete=models.CASCADE, related_name="candidates")
    position = models.PositiveSmallIntegerField()
    text = models.TextField()
    realism = models.FloatField(null=True, help_text="The discriminator's probability that a person wrote it.")
    score = models.FloatField(null=True, help_text="What the reward model expects of it.")
    verdict = models.CharField(max_length=300, blank=True, help_text="Why it was not taken.")
    chosen = models.BooleanField(default=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["incoming", "position"], name="candidate_position_once"),
            models.UniqueConstraint(fields=["incoming"], condition=Q(chosen=True), name="candidate_chosen_once"),
        ]
        ordering = ["position"]

    def __str__(self) -> str:
        return self.text[:60]
