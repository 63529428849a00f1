"""Who: people, organizations, memberships, API tokens and the audit log."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models, transaction
from django.db.models.functions import Lower

from accounts.roles import Role, allows, permissions_of
from accounts.tenancy import TenantModel

GRACE = timedelta(days=14)
"""How long an organization's deletion can be undone."""


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Create a person whom the operator vouches for: the address counts as theirs at once. Without a password
        only a sign-in link lets them in, until they set one.
        """
        from accounts.people import vouch_for  # it needs the models below

        if not email:
            raise ValueError("A person needs an e-mail address.")
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        with transaction.atomic(using=self._db):
            user.save(using=self._db)
            vouch_for(user)
        return user

    def get_by_natural_key(self, email: str | None) -> User:
        """The person with this address, in any case. Raises DoesNotExist."""
        user: User = self.get(email__iexact=email)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. The e-mail address is the name to sign in with, whatever its letters' case."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField("e-mail address", unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("platform operator", default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_any_case")]

    def __str__(self) -> str:
        return self.name or self.email


class Organization(models.Model):
    """A tenant: everything but people belongs to exactly one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    paused_at = models.DateTimeField(
        null=True, blank=True, help_text="While set, nothing of this organization is published."
    )
    demands_mfa = models.BooleanField(
        "demand a second factor",
        default=False,
        help_text="Members without a second factor are kept out until they add one.",
    )
    plan = models.CharField(max_length=20, default="open", help_text="Which quotas hold (accounts/plans.py).")
    quotas = models.JSONField(
        default=dict, blank=True, help_text="Quotas that differ from the plan's: name → amount, or null for none."
    )
    deletion_requested_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name

    @property
    def deletes_at(self) -> datetime | None:
        """When its deletion, which somebody asked for, can no longer be undone; None for one that stays."""
        return self.deletion_requested_at + GRACE if self.deletion_requested_at else None


class Site(models.Model):
    """This installation, one row: the operator's switch that stops all publishing, and the pulse by which a database
    that was restored from a backup is recognised.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    paused_at = models.DateTimeField(null=True, blank=True)
    pause_reason = models.CharField(max_length=500, blank=True)
    pulse_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="site_is_one")]

    def __str__(self) -> str:
        return "This installation"


class Membership(TenantModel):
    """A person's place in an organization."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="membership_of_organization"),
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"

    scopes: frozenset[str] | None = None
    """The permissions of the token that acts for the person; None: all of the role's. (No column: the door sets it.)"""

    def role_allows(self, permission: str) -> bool:
        return allows(self.role, permission)

    def allows(self, permission: str) -> bool:
        return self.role_allows(permission) and (self.scopes is None or permission in self.scopes)

    @property
    def can(self) -> dict[str, bool]:
        return {permission: self.allows(permission) for permission in permissions_of(self.role)}


class Invitation(TenantModel):
    """A place in an organization, offered by e-mail. The link's secret is stored as a SHA-256."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField("e-mail address")
    role = models.CharField(max_length=10, choices=Role.choices)
    sha256 = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                "organization",
                Lower("email"),
                condition=models.Q(accepted_at=None, revoked_at=None),
                name="invitation_open_once",
            ),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="invitation_role"),
        ]
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.email} ({self.role})"


class ApiToken(TenantModel):
    """A key for programs: shown once, stored as a SHA-256, bound to a membership and never able to do more than it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12)
    sha256 = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(
        null=True,
        blank=True,
        help_text="The permissions that it carries, of those of its person's role; null: them all.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class AuditEntry(TenantModel):
    """One line of the audit log: who did what to which object. Lines are only ever added; the database refuses
    changes.
    """

    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=200, help_text="A person's e-mail, a token's name or the process that acted.")
    user = models.ForeignKey(User, null=True, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False)
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40)
    object_id = models.CharField(max_length=40)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["organization", "-at"])]
        ordering = ["-at", "-id"]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.object_type} {self.object_id}"


from accounts.api_models import IdempotencyKey  # noqa: E402 - it needs the models above
from accounts.export_models import Export  # noqa: E402
from accounts.notification_models import Notification, NotificationChoice  # noqa: E402
from accounts.usage_models import Consumption  # noqa: E402
from accounts.webhook_models import Webhook, WebhookDelivery  # noqa: E402

__all__ = [
    "ApiToken",
    "AuditEntry",
    "Consumption",
    "Export",
    "IdempotencyKey",
    "Invitation",
    "Membership",
    "Notification",
    "NotificationChoice",
    "Organization",
    "Role",
    "Site",
    "User",
    "Webhook",
    "WebhookDelivery",
]
