"""What the operator decides: rules of the installation, reports, takedowns and sanctions."""

import uuid

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import accounts.clock
from accounts.constraints import row_security, tenant_foreign_key


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0007_notifications"),
        ("bots", "0010_newest_first"),
        ("faces", "0007_row_security"),
    ]

    operations = [
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
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
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
            ],
            options={
                "ordering": ["-at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
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
            ],
            options={
                "ordering": ["-at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
            },
        ),
        migrations.AddField(
            model_name="report",
            name="organization",
            field=models.ForeignKey(
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="report",
            name="post",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="reports", to="bots.post"
            ),
        ),
        migrations.AddField(
            model_name="sanction",
            name="bot",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="sanctions",
                to="bots.bot",
            ),
        ),
        migrations.AddField(
            model_name="sanction",
            name="organization",
            field=models.ForeignKey(
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.organization",
            ),
        ),
        migrations.AddConstraint(
            model_name="siterule",
            constraint=models.CheckConstraint(
                condition=models.Q(("outcome__in", ["flag", "block"])), name="site_rule_outcome"
            ),
        ),
        migrations.AddConstraint(
            model_name="siterule",
            constraint=models.CheckConstraint(
                condition=models.Q(("severity__gte", 1), ("severity__lte", 5)), name="site_rule_severity"
            ),
        ),
        migrations.AddField(
            model_name="takedown",
            name="organization",
            field=models.ForeignKey(
                editable=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.organization",
            ),
        ),
        migrations.AddField(
            model_name="sanction",
            name="takedown",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="sanctions",
                to="bots.takedown",
            ),
        ),
        migrations.AddIndex(
            model_name="report",
            index=models.Index(condition=models.Q(("state", "open")), fields=["created_at"], name="report_open"),
        ),
        migrations.AddConstraint(
            model_name="report",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["open", "upheld", "dismissed"])), name="report_state"
            ),
        ),
        migrations.AddIndex(
            model_name="takedown",
            index=models.Index(
                condition=models.Q(("next_attempt_at__isnull", False)), fields=["next_attempt_at"], name="takedown_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="takedown",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="takedown_of_organization"),
        ),
        migrations.AddIndex(
            model_name="sanction",
            index=models.Index(
                condition=models.Q(("lifted_at", None)), fields=["organization"], name="sanction_in_force"
            ),
        ),
        migrations.AddIndex(
            model_name="sanction",
            index=models.Index(
                condition=models.Q(("appeal", "open")), fields=["appealed_at"], name="sanction_appealed"
            ),
        ),
        migrations.AddConstraint(
            model_name="sanction",
            constraint=models.CheckConstraint(
                condition=models.Q(("grade__in", ["warning", "review", "suspension"])), name="sanction_grade"
            ),
        ),
        migrations.AddConstraint(
            model_name="sanction",
            constraint=models.CheckConstraint(
                condition=models.Q(("appeal__in", ["none", "open", "granted", "refused"])), name="sanction_appeal"
            ),
        ),
        tenant_foreign_key("bots_report", "post_id", "bots_post"),
        tenant_foreign_key("bots_sanction", "bot_id", "bots_bot"),
        tenant_foreign_key("bots_sanction", "takedown_id", "bots_takedown"),
        row_security("bots_report"),
        row_security("bots_sanction"),
        row_security("bots_takedown"),
    ]
