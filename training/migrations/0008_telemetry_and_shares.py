"""Metrics in buckets, the log of a run, the run to compare with, and links to show a bot by."""

import uuid

import django.db.models.deletion
from django.db import migrations, models

from accounts.constraints import row_security, tenant_foreign_key


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_notifications"),
        ("bots", "0011_moderation_panel"),
        ("training", "0007_row_security"),
    ]

    operations = [
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
            ],
            options={
                "ordering": ["level", "number"],
                "abstract": False,
                "base_manager_name": "objects",
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
            ],
            options={
                "ordering": ["at", "pk"],
                "abstract": False,
                "base_manager_name": "objects",
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
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.AddField(
            model_name="generation",
            name="group",
            field=models.UUIDField(
                editable=False, help_text="Of requests that belong together: one prompt, several versions.", null=True
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="pinned",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Shown beside other runs: the one that they are held against.",
            ),
        ),
        migrations.AddField(
            model_name="metricbucket",
            name="organization",
            field=models.ForeignKey(
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="metricbucket",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="buckets", to="training.run"
            ),
        ),
        migrations.AddField(
            model_name="runevent",
            name="organization",
            field=models.ForeignKey(
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="runevent",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="events", to="training.run"
            ),
        ),
        migrations.AddField(
            model_name="sharelink",
            name="bot",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="share_links", to="bots.bot"
            ),
        ),
        migrations.AddField(
            model_name="sharelink",
            name="organization",
            field=models.ForeignKey(
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.organization",
            ),
        ),
        migrations.AddConstraint(
            model_name="metricbucket",
            constraint=models.UniqueConstraint(fields=("run", "name", "level", "number"), name="metric_bucket_once"),
        ),
        migrations.AddIndex(
            model_name="runevent",
            index=models.Index(fields=["run", "-at", "-id"], name="run_event_newest"),
        ),
        migrations.AddConstraint(
            model_name="runevent",
            constraint=models.UniqueConstraint(
                condition=models.Q(("level", "alert")), fields=("run", "kind"), name="run_alert_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="runevent",
            constraint=models.CheckConstraint(
                condition=models.Q(("level__in", ["info", "warning", "alert"])), name="run_event_level"
            ),
        ),
        tenant_foreign_key("training_metricbucket", "run_id", "training_run"),
        tenant_foreign_key("training_runevent", "run_id", "training_run"),
        tenant_foreign_key("training_sharelink", "bot_id", "bots_bot"),
        row_security("training_metricbucket"),
        row_security("training_runevent"),
        row_security("training_sharelink"),
    ]
