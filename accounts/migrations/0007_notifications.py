"""What people are told of, and how they want to be told."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from accounts.constraints import row_security


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0006_row_security"),
    ]

    operations = [
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        help_text="What happened: a name of accounts/notification_kinds.py.", max_length=60
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("text", models.CharField(blank=True, max_length=500)),
                ("path", models.CharField(max_length=500)),
                (
                    "subject",
                    models.CharField(
                        blank=True,
                        help_text="What it is about, like “post 3f0d…”: told once while it is unread.",
                        max_length=80,
                    ),
                ),
                (
                    "email_due",
                    models.BooleanField(
                        default=False, help_text="It is still to be sent by e-mail, alone or in a digest."
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("read_at", models.DateTimeField(null=True)),
                ("emailed_at", models.DateTimeField(null=True)),
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
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["organization", "user", "-created_at", "-id"], name="notification_newest"),
                    models.Index(
                        condition=models.Q(("email_due", True)), fields=["created_at"], name="notification_email_due"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("read_at", None), models.Q(("subject", ""), _negated=True)),
                        fields=("organization", "user", "kind", "subject"),
                        name="notification_unread_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationChoice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=60)),
                ("on_page", models.BooleanField(default=True)),
                (
                    "email",
                    models.CharField(
                        choices=[("now", "At once"), ("digest", "In a daily digest"), ("never", "Not by e-mail")],
                        max_length=6,
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
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "user", "kind"), name="notification_choice_once"),
                    models.CheckConstraint(
                        condition=models.Q(("email__in", ["now", "digest", "never"])), name="notification_email"
                    ),
                ],
            },
        ),
        row_security("accounts_notification"),
        row_security("accounts_notificationchoice"),
    ]
