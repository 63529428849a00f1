"""What exists: bots, their schedules, posts, and how the audience reacted. Fields and constraints only; rules live in
services.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.indexes import HashIndex
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts import clock
from accounts.tenancy import TenantModel
from bots import scoring, states
from bots.states import PostState
from faces.models import Connection


def default_reading_ages() -> list[int]:
    """Minutes after publication (by the platform's clock) at which reactions are read."""
    return [15, 60, 180, 480, 1440, 2880]


def check_zone(name: str) -> None:
    if name not in clock.zones():
        raise ValidationError(f"“{name}” is no time zone. Use a name like Europe/Warsaw or UTC.")


class Bot(TenantModel):
    """A bot: an account to speak from, a model to learn with, and rules that a person set."""

    class Approval(models.TextChoices):
        REVIEW = "review", "A person approves every post"
        AUTO = "auto", "Posts that pass every rule are approved by themselves"

    class QueueOrder(models.TextChoices):
        GIVEN = "given", "In the order of the queue"
        RANDOM = "random", "In random order"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="bots")
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True, max_length=2000)
    base_model = models.CharField(
        max_length=200,
        default="starter",
        help_text="“starter”, a causal model of the hub such as gpt2, or a local folder.",
    )
    approval = models.CharField(max_length=10, choices=Approval.choices, default=Approval.REVIEW)
    score_formula = models.CharField(max_length=300, default=scoring.DEFAULT_FORMULA)
    reading_ages = models.JSONField(default=default_reading_ages)
    reward_age = models.PositiveIntegerField(
        default=1440,
        help_text="Minutes after which a post's reactions count as its reward.",
        validators=[MinValueValidator(1)],
    )
    posts_per_day = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Cap on posts per day of the bot's schedule; empty: none.",
        validators=[MinValueValidator(1)],
    )
    blocklist = models.JSONField(default=list, blank=True, help_text="Words and phrases that this bot never publishes.")
    queue_order = models.CharField(
        max_length=6,
        choices=QueueOrder.choices,
        default=QueueOrder.GIVEN,
        help_text="In which order approved posts take the free slots.",
    )
    queue_empty_since = models.DateTimeField(null=True, blank=True, editable=False)
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    pause_reason = models.CharField(max_length=300, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="bot_of_organization"),
            models.UniqueConstraint(fields=["organization", "name"], name="bot_name_once"),
            models.CheckConstraint(condition=Q(approval__in=["review", "auto"]), name="bot_approval"),
            models.CheckConstraint(condition=Q(queue_order__in=["given", "random"]), name="bot_queue_order"),
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Schedule(TenantModel):
    """When a bot speaks: a rule and a time zone, from which slots are computed."""

    class Kind(models.TextChoices):
        INTERVAL = "interval", "At an interval"
        CRON = "cron", "By a cron expression"
        TIMETABLE = "timetable", "At given times of the week"

    class Misfire(models.TextChoices):
        SKIP = "skip", "Skip the slot; the post takes the next free one"
        LATE = "late", "Send one post late; the others take the next free slots"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="schedules")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    zone = models.CharField("time zone", max_length=60, default="UTC", validators=[check_zone])
    interval_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(31_536_000)]
    )
    cron = models.CharField(
        max_length=120, blank=True, help_text="Five fields: minute, hour, day of month, month, day of week."
    )
    timetable = models.JSONField(default=list, blank=True, help_text="Times of the week, like “mon 09:00”.")
    misfire = models.CharField(max_length=5, choices=Misfire.choices, default=Misfire.LATE)
    misfire_minutes = models.PositiveIntegerField(default=60, help_text="How late a missed post may still be sent.")
    jitter_minutes = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(720)],
        help_text="Each slot is moved later by a random part of this many minutes.",
    )
    quiet_from = models.TimeField(null=True, blank=True, help_text="Local time from which nothing is sent.")
    quiet_until = models.TimeField(null=True, blank=True, help_text="Local time from which posts are sent again.")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="schedule_of_organization"),
            models.CheckConstraint(
                condition=Q(kind="interval", interval_seconds__gte=1)
                | (Q(kind="cron") & ~Q(cron=""))
                | (Q(kind="timetable") & ~Q(timetable=[])),
                name="schedule_has_its_rule",
            ),
            models.CheckConstraint(
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="schedule_quiet_hours_whole",
            ),
        ]
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.zone})"


class Post(TenantModel):
    """A post through its whole life, and the row that its delivery is decided by (docs/delivery.md)."""

    class Kind(models.TextChoices):
        NEW = "new", "New post"
        REPLY = "reply", "Reply"

    class Arm(models.TextChoices):
        LEARNING = "learning", "Learning"
        BASELINE = "baseline", "Baseline"
        HUMAN = "human", "Written by a person"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    bot = models.ForeignKey(Bot, on_delete=models.CASCADE, related_name="posts")
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="posts")
    kind = models.CharField(max_length=5, choices=Kind.choices, default=Kind.NEW)
    reply_to = models.CharField(max_length=300, blank=True, help_text="The platform's id of the post that is answered.")
    continues = models.OneToOneField(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="continued_by",
        help_text="The part of a thread that this one follows: it is sent once that is published, as its reply.",
    )
    text = models.TextField(blank=True)
    arm = models.CharField(max_length=10, choices=Arm.choices, default=Arm.HUMAN)
    model_version_id = models.UUIDField(null=True, editable=False, db_index=True)
    provenance = models.JSONField(default=dict, editable=False)

    state = models.CharField(max_length=20, choices=PostState.choices, default=PostState.PENDING_REVIEW)
    payload_sha256 = models.CharField(max_length=64, editable=False)
    approved_sha256 = models.CharField(max_length=64, blank=True, editable=False)
    approved_by = models.CharField(max_length=200, blank=True, editable=False)
    approved_at = models.DateTimeField(null=True, editable=False)
    decline_reason = models.CharField(max_length=300, blank=True)

    position = models.FloatField(default=0, help_text="Place in the queue; posts of the same place go by approval.")
    schedule = models.ForeignKey(Schedule, null=True, on_delete=models.SET_NULL, related_name="+")
    slot_utc = models.DateTimeField(null=True, blank=True)
    platform_key = models.CharField(max_length=64, editable=False)
    fence = models.PositiveIntegerField(default=0, editable=False)
    owner = models.CharField(max_length=120, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    not_before = models.DateTimeField(null=True, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    sent_at = models.DateTimeField(null=True, editable=False)
    looked_for_at = models.DateTimeField(null=True, editable=False)
    absences = models.PositiveIntegerField(default=0, editable=False)
    last_error = models.TextField(blank=True, editable=False)

    remote_id = models.CharField(max_length=300, null=True, editable=False)  # noqa: DJ001 - NULLs are distinct in UNIQUE
    remote_url = models.CharField(max_length=500, blank=True, editable=False)
    published_at = models.DateTimeField(null=True, editable=False)
    readings_due = models.PositiveIntegerField(default=0, editable=False)
    next_reading_at = models.DateTimeField(null=True, editable=False)

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="post_of_organization"),
            models.UniqueConstraint(fields=["bot", "slot_utc"], name="post_slot_once"),
            models.UniqueConstraint(fields=["connection", "remote_id"], name="post_remote_once"),
            models.UniqueConstraint(fields=["platform_key"], name="post_key_once"),
            models.CheckConstraint(condition=Q(state__in=PostState.values), name="post_state"),
            models.CheckConstraint(condition=Q(arm__in=["learning", "baseline", "human"]), name="post_arm"),
            models.CheckConstraint(condition=~Q(kind="reply") | ~Q(reply_to=""), name="post_reply_has_target"),
            models.CheckConstraint(
                condition=~Q(state="published") | (Q(remote_id__isnull=False) & Q(published_at__isnull=False)),
                name="post_published_has_proof",
            ),
            models.CheckConstraint(
                condition=~Q(state="scheduled") | Q(slot_utc__isnull=False), name="post_scheduled_has_slot"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["approved", "scheduled", "queued", "leased", "sending"])
                | ~Q(approved_sha256=""),
                name="post_approved_has_hash",
            ),
        ]
        indexes = [
            models.Index(fields=["slot_utc"], condition=Q(state="scheduled"), name="post_due"),
            models.Index(fields=["not_before"], condition=Q(state="queued"), name="post_queued"),
            models.Index(fields=["lease_until"], condition=Q(state__in=["leased", "sending"]), name="post_leased"),
            models.Index(
                fields=["next_reading_at"], condition=Q(next_reading_at__isnull=False), name="post_reading_due"
            ),
            models.Index(fields=["sent_at"], condition=Q(state="unknown"), name="post_unknown"),
            models.Index(fields=["bot"], condition=Q(state="approved"), name="post_approved"),
            models.Index(fields=["organization"], condition=Q(state="needs_human"), name="post_needs_human"),
            models.Index(fields=["bot", "state", "-created_at"], name="post_of_bot"),
            models.Index(fields=["organization", "-created_at", "-id"], name="post_newest"),
            models.Index(
                fields=["bot", "published_at"], condition=Q(published_at__isnull=False), name="post_published"
            ),
            HashIndex(fields=["remote_url"], condition=~Q(remote_url=""), name="post_remote_url"),
        ]
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.text[:60]

    def move(self, new: PostState) -> None:
        """Take a step of the table (in memory; the caller saves). Raises IllegalTransition."""
        states.check(self.state, new)
        self.state = new


class PostImage(TenantModel):
    """An image of a post, with the text for people who cannot see it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="images")
    position = models.PositiveSmallIntegerField()
    file = models.FileField(upload_to="posts/%Y/%m/", max_length=300)
    media_type = models.CharField(max_length=40)
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes.")
    sha256 = models.CharField(max_length=64)
    alt_text = models.CharField(max_length=1500)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["post", "position"], name="post_image_position_once"),
            models.CheckConstraint(condition=~Q(alt_text=""), name="post_image_has_alt_text"),
        ]
        ordering = ["position"]


class ScoreObservation(TenantModel):
    """Reactions to a post, read once at one age. A metric that the platform did not give is absent, never 0."""

    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="observations")
    number = models.PositiveSmallIntegerField()
    age_seconds = models.PositiveIntegerField(help_text="The post's age by the platform's clock.")
    metrics = models.JSONField()
    followers = models.PositiveIntegerField(null=True)
    simulated = models.BooleanField(default=False)
    observed_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="observation_of_organization"),
            models.UniqueConstraint(fields=["post", "number"], name="observation_once"),
        ]
        indexes = [models.Index(fields=["organization", "-observed_at", "-id"], name="observation_newest")]
        ordering = ["number"]


class Reward(TenantModel):
    """What a post's reactions are worth by the bot's formula, and from which observation."""

    post = models.OneToOneField(Post, on_delete=models.CASCADE, related_name="reward")
    observation = models.ForeignKey(ScoreObservation, on_delete=models.CASCADE, related_name="+")
    value = models.FloatField()
    formula = models.CharField(max_length=300)
    computed_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["computed_at"])]


class Verdict(TenantModel):
    """What one moderation rule said of a post."""

    class Value(models.TextChoices):
        PASS = "pass", "Passed"
        FLAG = "flag", "Look at this"
        BLOCK = "block", "Blocked"

    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="verdicts")
    rule = models.CharField(max_length=40)
    value = models.CharField(max_length=5, choices=Value.choices)
    reason = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["post", "rule"], name="verdict_once_per_rule")]
        indexes = [models.Index(fields=["rule", "at"], condition=Q(value__in=["flag", "block"]), name="verdict_hits")]
        ordering = ["rule"]


class Decision(TenantModel):
    """What a person decided about a proposed post: what a model may learn people's taste from. Editing counts as
    preferring `text` to `original_text`.
    """

    class Choice(models.TextChoices):
        APPROVED = "approved", "Approved"
        DECLINED = "declined", "Declined"
        EDITED = "edited", "Edited"

    post = models.ForeignKey(Post, on_delete=models.CASCADE, related_name="decisions")
    choice = models.CharField(max_length=8, choices=Choice.choices)
    text = models.TextField(blank=True)
    original_text = models.TextField(blank=True)
    reason = models.CharField(max_length=300, blank=True)
    by = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(choice__in=["approved", "declined", "edited"]), name="decision_choice"),
        ]
        indexes = [models.Index(fields=["post", "at"], name="decision_of_post")]
        ordering = ["at", "pk"]

    def __str__(self) -> str:
        return f"{self.get_choice_display()}: {self.text[:40]}"


from bots.moderation_models import Report, Sanction, SiteRule, Takedown  # noqa: E402 - after Bot and Post, too
from bots.reply_models import Incoming, ReplyCandidate, ReplyRules  # noqa: E402 - after Bot and Post, which they point to

__all__ = [
    "Bot",
    "Decision",
    "Incoming",
    "Post",
    "PostImage",
    "ReplyCandidate",
    "ReplyRules",
    "Report",
    "Reward",
    "Sanction",
    "Schedule",
    "ScoreObservation",
    "SiteRule",
    "Takedown",
    "Verdict",
]
