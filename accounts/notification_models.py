"""What people are told of, and how each of them wants to be told."""

from __future__ import annotations

import uuid

from django.db import models

from accounts.tenancy import TenantModel


class Notification(TenantModel):
    """One thing that one member was told of. `path` is the page of the very thing, on this site."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=60, help_text="What happened: a name of accounts/notification_kinds.py.")
    title = models.CharField(max_length=200)
    text = models.CharField(max_length=500, blank=True)
    path = models.CharField(max_length=500)
    subject = models.CharField(
        max_length=80, blank=True, help_text="What it is about, like “post 3f0d…”: told once while it is unread."
    )
    email_due = models.BooleanField(default=False, help_text="It is still to be sent by e-mail, alone or in a digest.")
    created_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True)
    emailed_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "user", "kind", "subject"],
                condition=models.Q(read_at=None) & ~models.Q(subject=""),
                name="notification_unread_once",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "user", "-created_at", "-id"], name="notification_newest"),
            models.Index(fields=["created_at"], condition=models.Q(email_due=True), name="notification_email_due"),
        ]
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.title


class NotificationChoice(TenantModel):
    """How one member wants to be told of one kind of thing; without a row the kind's own default holds."""

    class Email(models.TextChoices):
        NOW = "now", "At once"
        DIGEST = "digest", "In a daily digest"
        NEVER = "never", "Not by e-mail"

    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=60)
    on_page = models.BooleanField(default=True)
    email = models.CharField(max_length=6, choices=Email.choices)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "user", "kind"], name="notification_choice_once"),
            models.CheckConstraint(condition=models.Q(email__in=["now", "digest", "never"]), name="notification_email"),
        ]
