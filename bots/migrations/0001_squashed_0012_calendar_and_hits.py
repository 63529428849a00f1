"""Everything that 0001 to 0012 make, at once."""

import uuid

import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import accounts.clock
import bots.models
from accounts.constraints import row_security, tenant_foreign_key

OWN_ORGANIZATION = [
    ("bots_bot", "connection_id", "faces_connection"),
    ("bots_schedule", "bot_id", "bots_bot"),
    ("bots_post", "bot_id", "bots_bot"),
    ("bots_post", "connection_id", "faces_connection"),
    ("bots_post", "schedule_id", "bots_schedule"),
    ("bots_postimage", "post_id", "bots_post"),
    ("bots_scoreobservation", "post_id", "bots_post"),
    ("bots_reward", "post_id", "bots_post"),
    ("bots_reward", "observation_id", "bots_scoreobservation"),
    ("bots_verdict", "post_id", "bots_post"),
    ("bots_decision", "post_id", "bots_post"),
    ("bots_post", "continues_id", "bots_post"),
    ("bots_replyrules", "bot_id", "bots_bot"),
    ("bots_incoming", "bot_id", "bots_bot"),
    ("bots_incoming", "answer_id", "bots_post"),
    ("bots_replycandidate", "incoming_id", "bots_incoming"),
    ("bots_report", "post_id", "bots_post"),
    ("bots_sanction", "bot_id", "bots_bot"),
    ("bots_sanction", "takedown_id", "bots_takedown"),
]
SECURED = [
    "bots_bot",
    "bots_decision",
    "bots_incoming",
    "bots_post",
    "bots_postimage",
    "bots_replycandidate",
    "bots_replyrules",
    "bots_report",
    "bots_reward",
    "bots_sanction",
    "bots_schedule",
    "bots_scoreobservation",
    "bots_takedown",
    "bots_verdict",
]
STEPS = (
    ("approved", "blocked"),
    ("approved", "cancelled"),
    ("approved", "pending_review"),
    ("approved", "scheduled"),
    ("approved", "unknown"),
    ("blocked", "pending_review"),
    ("declined", "pending_review"),
    ("leased", "cancelled"),
    ("leased", "queued"),
    ("leased", "sending"),
    ("leased", "unknown"),
    ("needs_human", "cancelled"),
    ("needs_human", "published"),
    ("needs_human", "queued"),
    ("pending_review", "approved"),
    ("pending_review", "blocked"),
    ("pending_review", "cancelled"),
    ("pending_review", "declined"),
    ("published", "deleted"),
    ("queued", "cancelled"),
    ("queued", "leased"),
    ("queued", "scheduled"),
    ("queued", "unknown"),
    ("rejected", "cancelled"),
    ("rejected", "pending_review"),
    ("scheduled", "approved"),
    ("scheduled", "blocked"),
    ("scheduled", "cancelled"),
    ("scheduled", "pending_review"),
    ("scheduled", "queued"),
    ("scheduled", "unknown"),
    ("sending", "published"),
    ("sending", "queued"),
    ("sending", "rejected"),
    ("sending", "unknown"),
    ("unknown", "needs_human"),
    ("unknown", "published"),
    ("unknown", "queued"),
)
PAIRS = ", ".join(f"('{old}', '{new}')" for old, new in STEPS)


class Migration(migrations.Migration):
    replaces = [
        ("bots", "0001_initial"),
        ("bots", "0002_same_organization"),
        ("bots", "0003_post_transitions"),
        ("bots", "0004_decisions"),
        ("bots", "0005_queue_threads_replies"),
        ("bots", "0006_restored"),
        ("bots", "0007_sweeps"),
        ("bots", "0008_sizes"),
        ("bots", "0009_row_security"),
        ("bots", "0010_newest_first"),
        ("bots", "0011_moderation_panel"),
        ("bots", "0012_calendar_and_hits"),
    ]

    initial = True

    dependencies = [("accounts", "0008_audit_entries"), ("faces", "0001_squashed_0007_row_security")]

    operations = [
        migrations.CreateModel(
            name="Bot",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                ("description", models.TextField(blank=True, max_length=2000)),
                (
                    "base_model",
                    models.CharField(
                        default="starter",
                        help_text="“starter”, a causal model of the hub such as gpt2, or a local folder.",
                        max_length=200,
                    ),
                ),
                (
                    "approval",
                    models.CharField(
                        choices=[
                            ("review", "A person approves every post"),
                            ("auto", "Posts that pass every rule are approved by themselves"),
                        ],
                        default="review",
                        max_length=10,
                    ),
                ),
                ("score_formula", models.CharField(default="log1p(likes) - log(followers)", max_length=300)),
                ("reading_ages", models.JSONField(default=bots.models.default_reading_ages)),
                (
                    "reward_age",
                    models.PositiveIntegerField(
                        default=1440,
                        help_text="Minutes after which a post's reactions count as its reward.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "posts_per_day",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Cap on posts per day of the bot's schedule; empty: none.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "blocklist",
                    models.JSONField(
                        blank=True, default=list, help_text="Words and phrases that this bot never publishes."
                    ),
                ),
                (
                    "queue_order",
                    models.CharField(
                        choices=[("given", "In the order of the queue"), ("random", "In random order")],
                        default="given",
                        help_text="In which order approved posts take the free slots.",
                        max_length=6,
                    ),
                ),
                ("queue_empty_since", models.DateTimeField(blank=True, editable=False, null=True)),
                ("paused_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("pause_reason", models.CharField(blank=True, editable=False, max_length=300)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="bots", to="faces.connection"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="bot_of_organization"),
                    models.UniqueConstraint(fields=("organization", "name"), name="bot_name_once"),
                    models.CheckConstraint(
                        condition=models.Q(("approval__in", ["review", "auto"])), name="bot_approval"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("queue_order__in", ["given", "random"])), name="bot_queue_order"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Post",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(choices=[("new", "New post"), ("reply", "Reply")], default="new", max_length=5),
                ),
                (
                    "reply_to",
                    models.CharField(
                        blank=True, help_text="The platform's id of the post that is answered.", max_length=300
                    ),
                ),
                ("text", models.TextField(blank=True)),
                (
                    "arm",
                    models.CharField(
                        choices=[("learning", "Learning"), ("baseline", "Baseline"), ("human", "Written by a person")],
                        default="human",
                        max_length=10,
                    ),
                ),
                ("model_version_id", models.UUIDField(db_index=True, editable=False, null=True)),
                ("provenance", models.JSONField(default=dict, editable=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending_review", "Waiting for review"),
                            ("blocked", "Blocked by a rule"),
                            ("declined", "Declined"),
                            ("approved", "Approved"),
                            ("scheduled", "Scheduled"),
                            ("cancelled", "Cancelled"),
                            ("queued", "Due"),
                            ("leased", "Being prepared"),
                            ("sending", "Being sent"),
                            ("published", "Published"),
                            ("rejected", "Refused by the platform"),
                            ("unknown", "Outcome unknown"),
                            ("needs_human", "Needs a person"),
                            ("deleted", "Taken down"),
                        ],
                        default="pending_review",
                        max_length=20,
                    ),
                ),
                ("payload_sha256", models.CharField(editable=False, max_length=64)),
                ("approved_sha256", models.CharField(blank=True, editable=False, max_length=64)),
                ("approved_by", models.CharField(blank=True, editable=False, max_length=200)),
                ("approved_at", models.DateTimeField(editable=False, null=True)),
                ("decline_reason", models.CharField(blank=True, max_length=300)),
                (
                    "position",
                    models.FloatField(
                        default=0, help_text="Place in the queue; posts of the same place go by approval."
                    ),
                ),
                ("slot_utc", models.DateTimeField(blank=True, null=True)),
                ("platform_key", models.CharField(editable=False, max_length=64)),
                ("fence", models.PositiveIntegerField(default=0, editable=False)),
                ("owner", models.CharField(blank=True, editable=False, max_length=120)),
                ("lease_until", models.DateTimeField(editable=False, null=True)),
                ("not_before", models.DateTimeField(editable=False, null=True)),
                ("attempts", models.PositiveIntegerField(default=0, editable=False)),
                ("sent_at", models.DateTimeField(editable=False, null=True)),
                ("looked_for_at", models.DateTimeField(editable=False, null=True)),
                ("absences", models.PositiveIntegerField(default=0, editable=False)),
                ("last_error", models.TextField(blank=True, editable=False)),
                ("remote_id", models.CharField(editable=False, max_length=300, null=True)),
                ("remote_url", models.CharField(blank=True, editable=False, max_length=500)),
                ("published_at", models.DateTimeField(editable=False, null=True)),
                ("readings_due", models.PositiveIntegerField(default=0, editable=False)),
                ("next_reading_at", models.DateTimeField(editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "bot",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="posts", to="bots.bot"),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="posts", to="faces.connection"
                    ),
                ),
                (
                    "continues",
                    models.OneToOneField(
                        blank=True,
                        help_text="The part of a thread that this one follows: it is sent once that is published, as its reply.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="continued_by",
                        to="bots.post",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(condition=models.Q(("state", "scheduled")), fields=["slot_utc"], name="post_due"),
                    models.Index(condition=models.Q(("state", "queued")), fields=["not_before"], name="post_queued"),
                    models.Index(
                        condition=models.Q(("state__in", ["leased", "sending"])),
                        fields=["lease_until"],
                        name="post_leased",
                    ),
                    models.Index(
                        condition=models.Q(("next_reading_at__isnull", False)),
                        fields=["next_reading_at"],
                        name="post_reading_due",
                    ),
                    models.Index(condition=models.Q(("state", "unknown")), fields=["sent_at"], name="post_unknown"),
                    models.Index(condition=models.Q(("state", "approved")), fields=["bot"], name="post_approved"),
                    models.Index(
                        condition=models.Q(("state", "needs_human")), fields=["organization"], name="post_needs_human"
                    ),
                    models.Index(fields=["bot", "state", "-created_at"], name="post_of_bot"),
                    models.Index(fields=["organization", "-created_at", "-id"], name="post_newest"),
                    models.Index(
                        condition=models.Q(("published_at__isnull", False)),
                        fields=["bot", "published_at"],
                        name="post_published",
                    ),
                    django.contrib.postgres.indexes.HashIndex(
                        condition=models.Q(("remote_url", ""), _negated=True),
                        fields=["remote_url"],
                        name="post_remote_url",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="post_of_organization"),
                    models.UniqueConstraint(fields=("bot", "slot_utc"), name="post_slot_once"),
                    models.UniqueConstraint(fields=("connection", "remote_id"), name="post_remote_once"),
                    models.UniqueConstraint(fields=("platform_key",), name="post_key_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    "pending_review",
                                    "blocked",
                                    "declined",
                                    "approved",
                                    "scheduled",
                                    "cancelled",
                                    "queued",
                                    "leased",
                                    "sending",
                                    "published",
                                    "rejected",
                                    "unknown",
                                    "needs_human",
                                    "deleted",
                                ],
                            )
                        ),
                        name="post_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("arm__in", ["learning", "baseline", "human"])), name="post_arm"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "reply"), _negated=True),
                            models.Q(("reply_to", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="post_reply_has_target",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "published"), _negated=True),
                            models.Q(("remote_id__isnull", False), ("published_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="post_published_has_proof",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "scheduled"), _negated=True),
                            ("slot_utc__isnull", False),
                            _connector="OR",
                        ),
                        name="post_scheduled_has_slot",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("state__in", ["approved", "scheduled", "queued", "leased", "sending"]), _negated=True
                            ),
                            models.Q(("approved_sha256", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="post_approved_has_hash",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Incoming",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("remote_id", models.CharField(max_length=300)),
                ("root_id", models.CharField(blank=True, max_length=300)),
                ("author", models.CharField(blank=True, max_length=300)),
                ("text", models.TextField(blank=True)),
                (
                    "parents",
                    models.JSONField(default=list, help_text="The posts above, oldest first: [[author, text], …]."),
                ),
                ("depth", models.PositiveIntegerField(default=0)),
                ("community", models.CharField(blank=True, max_length=200)),
                ("url", models.CharField(blank=True, max_length=500)),
                ("summoned", models.BooleanField(default=False)),
                ("at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("chosen", "Waiting for an answer"),
                            ("skipped", "Skipped"),
                            ("answered", "Answered"),
                            ("failed", "Not answered"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        blank=True, help_text="Why it was skipped, or why there is no answer.", max_length=300
                    ),
                ),
                ("fence", models.PositiveIntegerField(default=0, editable=False)),
                ("lease_until", models.DateTimeField(editable=False, null=True)),
                ("seen_at", models.DateTimeField()),
                (
                    "bot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="incoming", to="bots.bot"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "answer",
                    models.OneToOneField(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="answers", to="bots.post"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "incoming",
                "ordering": ["-seen_at", "-at"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "chosen")), fields=["lease_until"], name="incoming_chosen"
                    ),
                    models.Index(fields=["bot", "-seen_at"], name="incoming_of_bot"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="incoming_of_organization"),
                    models.UniqueConstraint(fields=("bot", "remote_id"), name="incoming_once"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["chosen", "skipped", "answered", "failed"])),
                        name="incoming_state",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Decision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "choice",
                    models.CharField(
                        choices=[("approved", "Approved"), ("declined", "Declined"), ("edited", "Edited")], max_length=8
                    ),
                ),
                ("text", models.TextField(blank=True)),
                ("original_text", models.TextField(blank=True)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("by", models.CharField(max_length=200)),
                ("at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "post",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="decisions", to="bots.post"
                    ),
                ),
            ],
            options={
                "ordering": ["at", "pk"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["post", "at"], name="decision_of_post")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("choice__in", ["approved", "declined", "edited"])), name="decision_choice"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PostImage",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("position", models.PositiveSmallIntegerField()),
                ("file", models.FileField(max_length=300, upload_to="posts/%Y/%m/")),
                ("media_type", models.CharField(max_length=40)),
                ("size", models.PositiveBigIntegerField(default=0, help_text="Bytes.")),
                ("sha256", models.CharField(max_length=64)),
                ("alt_text", models.CharField(max_length=1500)),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "post",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="images", to="bots.post"
                    ),
                ),
            ],
            options={
                "ordering": ["position"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("post", "position"), name="post_image_position_once"),
                    models.CheckConstraint(
                        condition=models.Q(("alt_text", ""), _negated=True), name="post_image_has_alt_text"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ReplyCandidate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveSmallIntegerField()),
                ("text", models.TextField()),
                (
                    "realism",
                    models.FloatField(help_text="The discriminator's probability that a person wrote it.", null=True),
                ),
                ("score", models.FloatField(help_text="What the reward model expects of it.", null=True)),
                ("verdict", models.CharField(blank=True, help_text="Why it was not taken.", max_length=300)),
                ("chosen", models.BooleanField(default=False)),
                (
                    "incoming",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="candidates", to="bots.incoming"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["position"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("incoming", "position"), name="candidate_position_once"),
                    models.UniqueConstraint(
                        condition=models.Q(("chosen", True)), fields=("incoming",), name="candidate_chosen_once"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ReplyRules",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("active", models.BooleanField(default=False, help_text="Look for posts to answer.")),
                ("mentions", models.BooleanField(default=True, help_text="Answer mentions of the account.")),
                ("comments", models.BooleanField(default=True, help_text="Answer comments below its own posts.")),
                (
                    "communities",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Communities whose posts it may answer unasked: their rules must allow it.",
                    ),
                ),
                (
                    "community_permission",
                    models.CharField(
                        blank=True, help_text="Where those communities allow bots that answer unasked.", max_length=500
                    ),
                ),
                (
                    "youngest_minutes",
                    models.PositiveIntegerField(default=0, help_text="Leave younger posts for later."),
                ),
                (
                    "oldest_minutes",
                    models.PositiveIntegerField(
                        default=1440,
                        help_text="Skip older posts.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "least_score",
                    models.IntegerField(blank=True, help_text="Skip posts with fewer likes; empty: any.", null=True),
                ),
                (
                    "deepest",
                    models.PositiveSmallIntegerField(default=4, help_text="Skip posts with more posts above them."),
                ),
                (
                    "keywords",
                    models.JSONField(
                        blank=True, default=list, help_text="Only posts with one of these words; empty: any."
                    ),
                ),
                (
                    "languages",
                    models.JSONField(blank=True, default=list, help_text="Only these languages, like en; empty: any."),
                ),
                (
                    "answer_bots",
                    models.BooleanField(default=False, help_text="Answer accounts that are marked as automated."),
                ),
                (
                    "per_thread",
                    models.PositiveSmallIntegerField(
                        default=2,
                        help_text="Most answers in one thread.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "per_author",
                    models.PositiveSmallIntegerField(
                        default=3,
                        help_text="Most answers to one author in 24 hours.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "per_hour",
                    models.PositiveSmallIntegerField(
                        default=10,
                        help_text="Most answers in an hour.",
                        validators=[django.core.validators.MinValueValidator(1)],
                    ),
                ),
                (
                    "candidates",
                    models.PositiveSmallIntegerField(
                        default=10,
                        help_text="Answers drawn for each post.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(64),
                        ],
                    ),
                ),
                (
                    "least_realism",
                    models.FloatField(
                        default=0.3,
                        help_text="Drop candidates that the discriminator holds for real with less than this probability.",
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1),
                        ],
                    ),
                ),
                (
                    "every_minutes",
                    models.PositiveIntegerField(default=5, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                (
                    "cursors",
                    models.JSONField(
                        default=dict, editable=False, help_text="Source → time of the newest post that was seen."
                    ),
                ),
                ("next_look_at", models.DateTimeField(editable=False, null=True)),
                ("problem", models.CharField(blank=True, editable=False, max_length=500)),
                (
                    "bot",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reply_rules", to="bots.bot"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="Report",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "category",
                    models.CharField(
                        choices=[
                            ("illegal", "Illegal"),
                            ("threat", "Threatens or incites violence"),
                            ("hate", "Hate or harassment"),
                            ("personal_data", "Personal data"),
                            ("deception", "Deceives: impersonation, scam"),
                            ("copyright", "Copies somebody's work"),
                            ("spam", "Spam"),
                            ("other", "Something else"),
                        ],
                        max_length=16,
                    ),
                ),
                ("text", models.TextField(blank=True, max_length=2000)),
                (
                    "reporter_email",
                    models.EmailField(
                        blank=True, help_text="To be told of the decision; may be left out.", max_length=254
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("upheld", "Upheld"), ("dismissed", "Dismissed")],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField(default=accounts.clock.now)),
                ("decided_at", models.DateTimeField(null=True)),
                ("decided_by", models.CharField(blank=True, max_length=200)),
                ("note", models.CharField(blank=True, help_text="Why it was decided so.", max_length=500)),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "post",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reports", to="bots.post"
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(condition=models.Q(("state", "open")), fields=["created_at"], name="report_open")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["open", "upheld", "dismissed"])), name="report_state"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("interval", "At an interval"),
                            ("cron", "By a cron expression"),
                            ("timetable", "At given times of the week"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "zone",
                    models.CharField(
                        default="UTC", max_length=60, validators=[bots.models.check_zone], verbose_name="time zone"
                    ),
                ),
                (
                    "interval_seconds",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(31536000),
                        ],
                    ),
                ),
                (
                    "cron",
                    models.CharField(
                        blank=True,
                        help_text="Five fields: minute, hour, day of month, month, day of week.",
                        max_length=120,
                    ),
                ),
                (
                    "timetable",
                    models.JSONField(blank=True, default=list, help_text="Times of the week, like “mon 09:00”."),
                ),
                (
                    "misfire",
                    models.CharField(
                        choices=[
                            ("skip", "Skip the slot; the post takes the next free one"),
                            ("late", "Send one post late; the others take the next free slots"),
                        ],
                        default="late",
                        max_length=5,
                    ),
                ),
                (
                    "misfire_minutes",
                    models.PositiveIntegerField(default=60, help_text="How late a missed post may still be sent."),
                ),
                (
                    "jitter_minutes",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="Each slot is moved later by a random part of this many minutes.",
                        validators=[django.core.validators.MaxValueValidator(720)],
                    ),
                ),
                (
                    "quiet_from",
                    models.TimeField(blank=True, help_text="Local time from which nothing is sent.", null=True),
                ),
                (
                    "quiet_until",
                    models.TimeField(blank=True, help_text="Local time from which posts are sent again.", null=True),
                ),
                ("active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(default=accounts.clock.now, editable=False)),
                (
                    "bot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="schedules", to="bots.bot"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["created_at"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="schedule_of_organization"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("interval_seconds__gte", 1), ("kind", "interval")),
                            models.Q(("kind", "cron"), models.Q(("cron", ""), _negated=True)),
                            models.Q(("kind", "timetable"), models.Q(("timetable", []), _negated=True)),
                            _connector="OR",
                        ),
                        name="schedule_has_its_rule",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("quiet_from__isnull", True), ("quiet_until__isnull", True)),
                            models.Q(("quiet_from__isnull", False), ("quiet_until__isnull", False)),
                            _connector="OR",
                        ),
                        name="schedule_quiet_hours_whole",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="post",
            name="schedule",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="bots.schedule"
            ),
        ),
        migrations.CreateModel(
            name="ScoreObservation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveSmallIntegerField()),
                ("age_seconds", models.PositiveIntegerField(help_text="The post's age by the platform's clock.")),
                ("metrics", models.JSONField()),
                ("followers", models.PositiveIntegerField(null=True)),
                ("simulated", models.BooleanField(default=False)),
                ("observed_at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "post",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="observations", to="bots.post"
                    ),
                ),
            ],
            options={
                "ordering": ["number"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["organization", "-observed_at", "-id"], name="observation_newest")],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="observation_of_organization"),
                    models.UniqueConstraint(fields=("post", "number"), name="observation_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Reward",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("value", models.FloatField()),
                ("formula", models.CharField(max_length=300)),
                ("computed_at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "post",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reward", to="bots.post"
                    ),
                ),
                (
                    "observation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="bots.scoreobservation"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["computed_at"], name="bots_reward_compute_1b40fd_idx")],
            },
        ),
        migrations.CreateModel(
            name="SiteRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80, unique=True)),
                ("kind", models.CharField(help_text="A name of bots/moderation/registry.py.", max_length=40)),
                ("settings", models.JSONField(blank=True, default=dict)),
                (
                    "outcome",
                    models.CharField(
                        choices=[("flag", "A person looks at the post"), ("block", "The post is blocked")],
                        default="flag",
                        max_length=5,
                    ),
                ),
                (
                    "severity",
                    models.PositiveSmallIntegerField(
                        default=2,
                        help_text="1 (mild) to 5 (grave).",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(5),
                        ],
                    ),
                ),
                ("message", models.CharField(blank=True, help_text="What the bot's people are told.", max_length=200)),
                ("active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(default=accounts.clock.now, editable=False)),
            ],
            options={
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("outcome__in", ["flag", "block"])), name="site_rule_outcome"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("severity__gte", 1), ("severity__lte", 5)), name="site_rule_severity"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Takedown",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("post_id", models.UUIDField(unique=True)),
                ("bot_id", models.UUIDField()),
                ("reason", models.CharField(max_length=500)),
                (
                    "evidence",
                    models.JSONField(
                        help_text="Text, SHA-256 of text and images, platform, address, times, author arm, model version, verdicts, latest reactions and reports, as they were."
                    ),
                ),
                ("by", models.CharField(max_length=200)),
                ("at", models.DateTimeField(default=accounts.clock.now)),
                (
                    "removed_at",
                    models.DateTimeField(help_text="When the platform confirmed that the post is gone.", null=True),
                ),
                ("error", models.CharField(blank=True, help_text="Why it is not gone yet.", max_length=500)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_attempt_at__isnull", False)),
                        fields=["next_attempt_at"],
                        name="takedown_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="takedown_of_organization")
                ],
            },
        ),
        migrations.CreateModel(
            name="Sanction",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "grade",
                    models.CharField(
                        choices=[
                            ("warning", "Warning"),
                            ("review", "A person approves every post"),
                            ("suspension", "Publishes nothing"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(help_text="What its people are told.", max_length=1000)),
                ("by", models.CharField(max_length=200)),
                ("at", models.DateTimeField(default=accounts.clock.now)),
                ("until", models.DateTimeField(blank=True, help_text="Empty: until it is lifted.", null=True)),
                ("lifted_at", models.DateTimeField(null=True)),
                ("lifted_by", models.CharField(blank=True, max_length=200)),
                (
                    "appeal",
                    models.CharField(
                        choices=[
                            ("none", "No appeal"),
                            ("open", "Appeal waits for a decision"),
                            ("granted", "Appeal granted"),
                            ("refused", "Appeal refused"),
                        ],
                        default="none",
                        max_length=8,
                    ),
                ),
                ("appeal_text", models.TextField(blank=True, max_length=4000)),
                ("appealed_by", models.CharField(blank=True, max_length=200)),
                ("appealed_at", models.DateTimeField(null=True)),
                ("appeal_answer", models.TextField(blank=True, max_length=4000)),
                ("appeal_decided_by", models.CharField(blank=True, max_length=200)),
                ("appeal_decided_at", models.DateTimeField(null=True)),
                (
                    "bot",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sanctions",
                        to="bots.bot",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "takedown",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="sanctions",
                        to="bots.takedown",
                    ),
                ),
            ],
            options={
                "ordering": ["-at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(
                        condition=models.Q(("lifted_at", None)), fields=["organization"], name="sanction_in_force"
                    ),
                    models.Index(
                        condition=models.Q(("appeal", "open")), fields=["appealed_at"], name="sanction_appealed"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("grade__in", ["warning", "review", "suspension"])), name="sanction_grade"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("appeal__in", ["none", "open", "granted", "refused"])),
                        name="sanction_appeal",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Verdict",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("rule", models.CharField(max_length=40)),
                (
                    "value",
                    models.CharField(
                        choices=[("pass", "Passed"), ("flag", "Look at this"), ("block", "Blocked")], max_length=5
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "organization",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "post",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="verdicts", to="bots.post"
                    ),
                ),
            ],
            options={
                "ordering": ["rule"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(
                        condition=models.Q(("value__in", ["flag", "block"])), fields=["rule", "at"], name="verdict_hits"
                    )
                ],
                "constraints": [models.UniqueConstraint(fields=("post", "rule"), name="verdict_once_per_rule")],
            },
        ),
        *(tenant_foreign_key(*key) for key in OWN_ORGANIZATION),
        migrations.RunSQL(
            f"""
            CREATE FUNCTION bots_post_transition() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({PAIRS}) THEN
                    RAISE EXCEPTION 'a post cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER bots_post_transition BEFORE UPDATE OF state ON bots_post
                FOR EACH ROW EXECUTE FUNCTION bots_post_transition();
            """,
            "DROP TRIGGER bots_post_transition ON bots_post; DROP FUNCTION bots_post_transition()",
        ),
        *(row_security(table) for table in SECURED),
    ]
