"""Everything that 0001 to 0009 make, at once."""

import uuid

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from accounts.constraints import row_security, tenant_foreign_key

OWN_ORGANIZATION = [
    ("training_dataset", "bot_id", "bots_bot"),
    ("training_example", "dataset_id", "training_dataset"),
    ("training_modelversion", "bot_id", "bots_bot"),
    ("training_modelversion", "parent_id", "training_modelversion"),
    ("training_modelversion", "run_id", "training_run"),
    ("training_run", "bot_id", "bots_bot"),
    ("training_run", "start_version_id", "training_modelversion"),
    ("training_round", "run_id", "training_run"),
    ("training_round", "version_id", "training_modelversion"),
    ("training_metric", "run_id", "training_run"),
    ("training_sampleset", "run_id", "training_run"),
    ("training_generation", "bot_id", "bots_bot"),
    ("training_generation", "version_id", "training_modelversion"),
    ("training_rundataset", "run_id", "training_run"),
    ("training_rundataset", "dataset_id", "training_dataset"),
    ("training_canary", "bot_id", "bots_bot"),
    ("training_canary", "version_id", "training_modelversion"),
    ("training_canary", "against_id", "training_modelversion"),
    ("training_harvest", "bot_id", "bots_bot"),
    ("training_harvest", "connection_id", "faces_connection"),
    ("training_harvest", "dataset_id", "training_dataset"),
    ("training_retraining", "bot_id", "bots_bot"),
    ("training_retraining", "last_run_id", "training_run"),
    ("training_metricbucket", "run_id", "training_run"),
    ("training_runevent", "run_id", "training_run"),
    ("training_sharelink", "bot_id", "bots_bot"),
]
SECURED = [
    "training_canary",
    "training_dataset",
    "training_example",
    "training_generation",
    "training_harvest",
    "training_metric",
    "training_metricbucket",
    "training_modelversion",
    "training_retraining",
    "training_round",
    "training_run",
    "training_rundataset",
    "training_runevent",
    "training_sampleset",
    "training_sharelink",
]


class Migration(migrations.Migration):
    replaces = [
        ("training", "0001_initial"),
        ("training", "0002_same_organization"),
        ("training", "0003_learning_engine"),
        ("training", "0004_run_sources"),
        ("training", "0005_pipeline"),
        ("training", "0006_sizes"),
        ("training", "0007_row_security"),
        ("training", "0008_telemetry_and_shares"),
        ("training", "0009_generation_groups"),
    ]

    initial = True

    dependencies = [
        ("accounts", "0008_audit_entries"),
        ("bots", "0001_squashed_0012_calendar_and_hits"),
        ("faces", "0001_squashed_0007_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Dataset",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=120)),
                ("source", models.CharField(help_text="Where the posts come from.", max_length=300)),
                (
                    "licence",
                    models.CharField(help_text="Under which licence or permission they may be used.", max_length=300),
                ),
                ("may_learn", models.BooleanField(default=False, help_text="I may use these posts to train a model.")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("uploaded", "Waiting for your decision"),
                            ("importing", "Being imported"),
                            ("ready", "Ready"),
                            ("refused", "Refused"),
                        ],
                        default="uploaded",
                        max_length=10,
                    ),
                ),
                ("file", models.FileField(blank=True, max_length=300, upload_to="datasets/%Y/%m/")),
                ("filename", models.CharField(max_length=200)),
                ("size", models.PositiveBigIntegerField(default=0, help_text="Bytes of the uploaded file.")),
                ("format", models.CharField(blank=True, max_length=20)),
                ("columns", models.JSONField(blank=True, default=dict)),
                ("preview", models.JSONField(blank=True, default=dict)),
                (
                    "only_good",
                    models.BooleanField(default=False, help_text="Import the good rows and leave the broken ones out."),
                ),
                ("error", models.CharField(blank=True, max_length=500)),
                ("example_count", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "bot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="datasets", to="bots.bot"
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
                "ordering": ["-created_at"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="dataset_of_organization"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["uploaded", "importing", "ready", "refused"])),
                        name="dataset_state",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Example",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("text", models.TextField()),
                ("score", models.FloatField(null=True)),
                ("author", models.CharField(blank=True, max_length=200)),
                ("community", models.CharField(blank=True, max_length=200)),
                ("topic", models.CharField(blank=True, max_length=200)),
                ("context", models.TextField(blank=True, help_text="What the post answers, oldest first.")),
                (
                    "quarantined",
                    models.CharField(
                        blank=True,
                        help_text="Why training leaves this post out: it broke a training twice.",
                        max_length=300,
                    ),
                ),
                ("posted_at", models.DateTimeField(null=True)),
                ("source", models.CharField(max_length=300)),
                ("licence", models.CharField(max_length=300)),
                ("may_learn", models.BooleanField()),
                (
                    "source_id",
                    models.CharField(
                        blank=True, help_text="Its platform's id, where it was harvested.", max_length=300
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="examples", to="training.dataset"
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
                    models.UniqueConstraint(fields=("dataset", "position"), name="example_position_once"),
                    models.UniqueConstraint(
                        condition=models.Q(("source_id", ""), _negated=True),
                        fields=("dataset", "source_id"),
                        name="example_source_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Harvest",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "account",
                    models.CharField(
                        blank=True, help_text="Whose posts; empty: the connection's own account.", max_length=300
                    ),
                ),
                (
                    "every_minutes",
                    models.PositiveIntegerField(default=1440, validators=[django.core.validators.MinValueValidator(5)]),
                ),
                ("active", models.BooleanField(default=True)),
                ("since", models.DateTimeField(editable=False, null=True)),
                ("next_at", models.DateTimeField(editable=False, null=True)),
                ("last_at", models.DateTimeField(editable=False, null=True)),
                ("last_found", models.PositiveIntegerField(default=0, editable=False)),
                ("problem", models.CharField(blank=True, editable=False, max_length=500)),
                (
                    "bot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="harvests", to="bots.bot"
                    ),
                ),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="harvests", to="faces.connection"
                    ),
                ),
                (
                    "dataset",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="harvest", to="training.dataset"
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
                "ordering": ["pk"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [models.Index(condition=models.Q(("active", True)), fields=["next_at"], name="harvest_due")],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="harvest_of_organization"),
                    models.UniqueConstraint(fields=("bot", "connection", "account"), name="harvest_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ModelVersion",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("offline", "Fine-tuned"),
                            ("online", "Learned from reactions"),
                            ("uploaded", "Uploaded"),
                        ],
                        max_length=10,
                    ),
                ),
                ("base", models.CharField(help_text="The model that the lineage began with.", max_length=200)),
                ("folder", models.CharField(max_length=300)),
                ("checksum", models.CharField(max_length=64)),
                ("size", models.PositiveBigIntegerField()),
                ("tags", models.JSONField(blank=True, default=list)),
                ("metrics", models.JSONField(blank=True, default=dict)),
                (
                    "report",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="What has more than a number: calibration, critics, memorised samples.",
                    ),
                ),
                ("is_current", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "bot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="model_versions", to="bots.bot"
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
                    "parent",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="children",
                        to="training.modelversion",
                    ),
                ),
            ],
            options={
                "ordering": ["-number"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="version_of_organization"),
                    models.UniqueConstraint(fields=("bot", "number"), name="version_number_once"),
                    models.UniqueConstraint(
                        condition=models.Q(("is_current", True)), fields=("bot",), name="version_current_once"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Generation",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("prompt", models.CharField(blank=True, max_length=1000)),
                ("count", models.PositiveSmallIntegerField(default=1)),
                ("params", models.JSONField(default=dict)),
                (
                    "group",
                    models.UUIDField(
                        editable=False,
                        help_text="Of requests that belong together: one prompt, several versions.",
                        null=True,
                    ),
                ),
                (
                    "into_queue",
                    models.BooleanField(default=False, help_text="Propose every text as a post of the bot."),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("queued", "Waiting for a worker"), ("done", "Done"), ("failed", "Failed")],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("samples", models.JSONField(default=list)),
                ("error", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "bot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="generations", to="bots.bot"
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
                    "version",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="training.modelversion",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(
                        condition=models.Q(("group__isnull", False)), fields=["group"], name="generation_group"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["queued", "done", "failed"])), name="generation_state"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Canary",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("share", models.FloatField(help_text="Share of the learning posts that the version on trial writes.")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "On trial"),
                            ("promoted", "Promoted"),
                            ("rolled_back", "Rolled back"),
                            ("ended", "Ended by a person"),
                        ],
                        default="running",
                        max_length=12,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("report", models.JSONField(blank=True, default=dict)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "bot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="canaries", to="bots.bot"
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
                    "against",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="training.modelversion"
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="canaries", to="training.modelversion"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "canaries",
                "ordering": ["-started_at"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "running")), fields=("bot",), name="canary_running_once_per_bot"
                    ),
                    models.CheckConstraint(condition=models.Q(("share__gt", 0), ("share__lt", 1)), name="canary_share"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["running", "promoted", "rolled_back", "ended"])),
                        name="canary_state",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[("offline", "Fine-tuning"), ("online", "Online learning")], max_length=10
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Waiting for a worker"),
                            ("running", "Running"),
                            ("paused", "Paused"),
                            ("finished", "Finished"),
                            ("stopped", "Stopped"),
                            ("failed", "Failed"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                (
                    "wish",
                    models.CharField(
                        choices=[("run", "Run"), ("pause", "Pause"), ("stop", "Stop")], default="run", max_length=5
                    ),
                ),
                ("config", models.JSONField(default=dict)),
                (
                    "then_online",
                    models.JSONField(
                        help_text="Configuration of the online run to start when this one has finished.", null=True
                    ),
                ),
                (
                    "pinned",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Shown beside other runs: the one that they are held against.",
                    ),
                ),
                ("error", models.TextField(blank=True)),
                ("progress", models.JSONField(default=dict)),
                ("owner", models.CharField(blank=True, max_length=120)),
                ("fence", models.PositiveIntegerField(default=0)),
                ("lease_until", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "bot",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="runs", to="bots.bot"),
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
                    "start_version",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="training.modelversion",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ["queued", "running", "paused"])),
                        fields=("bot",),
                        name="run_living_once_per_bot",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["queued", "running", "paused", "finished", "stopped", "failed"])
                        ),
                        name="run_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind", "offline"), ("start_version__isnull", False), _connector="OR"),
                        name="run_online_has_start",
                    ),
                ],
            },
        ),
        # By itself: a table with a default in the database gets its constraints last, and keys below need this one.
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="run_of_organization"),
        ),
        migrations.CreateModel(
            name="Round",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("config", models.JSONField(default=dict)),
                ("decisions", models.JSONField(default=list)),
                ("metrics", models.JSONField(default=dict)),
                (
                    "report",
                    models.JSONField(
                        default=dict, help_text="What has more than a number: calibration, the watchdog's readings."
                    ),
                ),
                ("engine_state", models.JSONField(default=dict)),
                (
                    "scored_posts",
                    models.PositiveIntegerField(default=0, help_text="Posts with a reward when the round began."),
                ),
                ("seconds", models.FloatField(default=0)),
                ("finished_at", models.DateTimeField()),
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
                    "version",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="rounds",
                        to="training.modelversion",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="rounds", to="training.run"
                    ),
                ),
            ],
            options={
                "ordering": ["number"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [models.UniqueConstraint(fields=("run", "number"), name="round_once")],
            },
        ),
        migrations.CreateModel(
            name="Retraining",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("active", models.BooleanField(default=False)),
                (
                    "every_hours",
                    models.PositiveIntegerField(default=24, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                (
                    "least_new_examples",
                    models.PositiveIntegerField(
                        default=50, help_text="Wait until the bot's datasets have grown by this many posts."
                    ),
                ),
                ("config", models.JSONField(blank=True, default=dict, help_text="The run's configuration.")),
                (
                    "tag",
                    models.CharField(
                        default="auto-%Y-%m-%d",
                        help_text="Tag of the new version; %Y, %m, %d and %H stand for the time.",
                        max_length=60,
                    ),
                ),
                (
                    "most_loss_increase",
                    models.FloatField(
                        default=0.02,
                        help_text="Gate: the held-out loss may be higher than the current version's by this share.",
                    ),
                ),
                (
                    "make_current",
                    models.BooleanField(default=True, help_text="Put a version that passes the gate to use."),
                ),
                ("learned_examples", models.PositiveIntegerField(default=0, editable=False)),
                ("next_at", models.DateTimeField(editable=False, null=True)),
                (
                    "result",
                    models.CharField(
                        blank=True, editable=False, help_text="What came of the last run.", max_length=500
                    ),
                ),
                (
                    "bot",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="retraining", to="bots.bot"
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
                    "last_run",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to="training.run"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.AddField(
            model_name="modelversion",
            name="run",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="versions", to="training.run"
            ),
        ),
        migrations.CreateModel(
            name="MetricBucket",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40)),
                ("level", models.PositiveSmallIntegerField()),
                ("number", models.PositiveIntegerField()),
                ("count", models.PositiveIntegerField()),
                (
                    "total",
                    models.FloatField(
                        help_text="Sum of the values, so that a mean over buckets is the mean over their points."
                    ),
                ),
                ("low", models.FloatField()),
                ("low_step", models.PositiveIntegerField()),
                ("high", models.FloatField()),
                ("high_step", models.PositiveIntegerField()),
                ("last", models.FloatField()),
                ("last_step", models.PositiveIntegerField()),
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
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="buckets", to="training.run"
                    ),
                ),
            ],
            options={
                "ordering": ["level", "number"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("run", "name", "level", "number"), name="metric_bucket_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Metric",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40)),
                ("step", models.PositiveIntegerField()),
                ("value", models.FloatField()),
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
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="metrics", to="training.run"
                    ),
                ),
            ],
            options={
                "ordering": ["step"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [models.UniqueConstraint(fields=("run", "name", "step"), name="metric_once")],
            },
        ),
        migrations.CreateModel(
            name="RunDataset",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("weight", models.FloatField(default=1.0)),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="uses", to="training.dataset"
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
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="sources", to="training.run"
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("run", "dataset"), name="run_dataset_once"),
                    models.CheckConstraint(
                        condition=models.Q(("weight__gt", 0), ("weight__lte", 1000)), name="run_dataset_weight"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RunEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("step", models.PositiveIntegerField(null=True)),
                (
                    "level",
                    models.CharField(
                        choices=[("info", "Information"), ("warning", "Warning"), ("alert", "Alert")],
                        default="info",
                        max_length=8,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        blank=True,
                        help_text="Of an alert: not_a_number, divergence, overfitting, reward_hacking, …",
                        max_length=30,
                    ),
                ),
                ("text", models.CharField(max_length=1000)),
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
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="events", to="training.run"
                    ),
                ),
            ],
            options={
                "ordering": ["at", "pk"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["run", "-at", "-id"], name="run_event_newest")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("level", "alert")), fields=("run", "kind"), name="run_alert_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("level__in", ["info", "warning", "alert"])), name="run_event_level"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SampleSet",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("step", models.PositiveIntegerField()),
                ("texts", models.JSONField()),
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
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="sample_sets", to="training.run"
                    ),
                ),
            ],
            options={
                "ordering": ["-step"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [models.UniqueConstraint(fields=("run", "step"), name="sample_set_once")],
            },
        ),
        migrations.CreateModel(
            name="ShareLink",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("label", models.CharField(blank=True, help_text="For whom it was made.", max_length=120)),
                ("shows_posts", models.BooleanField(default=True, help_text="Show its latest published posts too.")),
                ("created_by", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                ("last_seen_at", models.DateTimeField(null=True)),
                (
                    "bot",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="share_links", to="bots.bot"
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
            },
        ),
        *(tenant_foreign_key(*key) for key in OWN_ORGANIZATION),
        *(row_security(table) for table in SECURED),
    ]
