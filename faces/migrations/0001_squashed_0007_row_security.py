"""Everything that 0001 to 0007 make, at once."""

import uuid

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from accounts.constraints import row_security, tenant_foreign_key

OWN_ORGANIZATION = [
    ("faces_sandboxworld", "connection_id", "faces_connection"),
    ("faces_sandboxpost", "connection_id", "faces_connection"),
    ("faces_authorization", "connection_id", "faces_connection"),
    ("faces_usage", "connection_id", "faces_connection"),
    ("faces_billedread", "connection_id", "faces_connection"),
]
SECURED = [
    "faces_authorization",
    "faces_billedread",
    "faces_connection",
    "faces_sandboxpost",
    "faces_sandboxworld",
    "faces_usage",
]


class Migration(migrations.Migration):
    replaces = [
        ("faces", "0001_initial"),
        ("faces", "0002_same_organization"),
        ("faces", "0003_credentials"),
        ("faces", "0004_governor"),
        ("faces", "0005_waits"),
        ("faces", "0006_budget_is_positive"),
        ("faces", "0007_row_security"),
    ]

    initial = True

    dependencies = [("accounts", "0008_audit_entries")]

    operations = [
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=120)),
                ("settings", models.JSONField(blank=True, default=dict)),
                (
                    "credentials",
                    models.TextField(blank=True, editable=False, help_text="Sealed; see accounts/vault.py."),
                ),
                (
                    "account",
                    models.CharField(blank=True, help_text="The account's name on its platform.", max_length=300),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("connected", "Connected"), ("broken", "Needs its owner")],
                        default="connected",
                        max_length=10,
                    ),
                ),
                (
                    "problem",
                    models.CharField(blank=True, help_text="What its platform said when it broke.", max_length=500),
                ),
                ("checked_at", models.DateTimeField(editable=False, null=True)),
                (
                    "may_learn",
                    models.BooleanField(
                        default=False, help_text="Whether this account's posts and reactions may be used for training."
                    ),
                ),
                (
                    "learn_permission",
                    models.CharField(
                        blank=True,
                        help_text="The permission to learn from this platform, where its terms ask for one.",
                        max_length=500,
                    ),
                ),
                (
                    "daily_budget",
                    models.DecimalField(
                        blank=True,
                        decimal_places=2,
                        help_text="US dollars that calls may cost per UTC day; empty: no bound.",
                        max_digits=8,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                (
                    "publish_after",
                    models.DateTimeField(
                        editable=False, help_text="The platform asked us to send nothing before this moment.", null=True
                    ),
                ),
                (
                    "read_after",
                    models.DateTimeField(
                        editable=False, help_text="The platform asked us to read nothing before this moment.", null=True
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
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
                    models.UniqueConstraint(fields=("organization", "id"), name="connection_of_organization"),
                    models.UniqueConstraint(fields=("organization", "name"), name="connection_name_once"),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["connected", "broken"])), name="connection_state"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BilledRead",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("remote_id", models.CharField(max_length=300)),
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
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="faces.connection"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "day", "remote_id"), name="read_billed_once_per_day")
                ],
            },
        ),
        migrations.CreateModel(
            name="Authorization",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=120)),
                ("settings", models.JSONField(default=dict)),
                (
                    "credentials",
                    models.TextField(
                        editable=False, help_text="Sealed; what must be known when the person comes back."
                    ),
                ),
                ("user_id", models.UUIDField(help_text="Who was sent: nobody else may finish it.")),
                ("expires_at", models.DateTimeField()),
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
                    "connection",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="faces.connection"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="SandboxPost",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("key", models.CharField(max_length=200)),
                ("text", models.TextField(blank=True)),
                (
                    "images",
                    models.JSONField(
                        blank=True, default=list, help_text="For each image: sha256, media_type, alt_text."
                    ),
                ),
                ("reply_to", models.CharField(blank=True, max_length=40)),
                ("published_at", models.DateTimeField()),
                (
                    "expected",
                    models.FloatField(
                        help_text="The audience's expected reaction, log units. Never shown to whoever learns."
                    ),
                ),
                ("followers", models.FloatField(help_text="Followers when it appeared: its exposure.")),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="sandbox_posts", to="faces.connection"
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
                "ordering": ["number"],
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "key"), name="sandbox_post_key_once"),
                    models.UniqueConstraint(fields=("connection", "number"), name="sandbox_post_number_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="SandboxWorld",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("seed", models.BigIntegerField()),
                ("followers", models.FloatField(help_text="Followers before the first post.")),
                ("clock_speed", models.FloatField(help_text="Platform seconds that pass in one real second.")),
                (
                    "connection",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="sandbox_world", to="faces.connection"
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
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("followers__gt", 0)), name="sandbox_world_has_followers"
                    ),
                    models.CheckConstraint(condition=models.Q(("clock_speed__gt", 0)), name="sandbox_world_clock_runs"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Usage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("operation", models.CharField(max_length=10)),
                (
                    "seconds",
                    models.PositiveIntegerField(help_text="Length of the limit's window; 0: totals of a UTC day."),
                ),
                ("start", models.DateTimeField()),
                ("calls", models.PositiveIntegerField(default=0)),
                ("microdollars", models.PositiveBigIntegerField(default=0)),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="usage", to="faces.connection"
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
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection", "operation", "seconds", "start"), name="usage_window_once"
                    )
                ],
            },
        ),
        *(tenant_foreign_key(*key) for key in OWN_ORGANIZATION),
        *(row_security(table) for table in SECURED),
    ]
