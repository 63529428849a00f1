"""Where a bot speaks: an organization's connections to platforms."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.validators import MinValueValidator
from django.db import models

from accounts import vault
from accounts.tenancy import TenantModel
from faces.contract import Capabilities, Face, FaceError
from faces.registry import FACES


class Connection(TenantModel):
    """One account on one platform, reached through the face named by `kind`. While it is broken, its bots wait."""

    class State(models.TextChoices):
        CONNECTED = "connected", "Connected"
        BROKEN = "broken", "Needs its owner"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=120)
    settings = models.JSONField(default=dict, blank=True)
    credentials = models.TextField(blank=True, editable=False, help_text="Sealed; see accounts/vault.py.")
    account = models.CharField(max_length=300, blank=True, help_text="The account's name on its platform.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.CONNECTED)
    problem = models.CharField(max_length=500, blank=True, help_text="What its platform said when it broke.")
    checked_at = models.DateTimeField(null=True, editable=False)
    may_learn = models.BooleanField(
        default=False, help_text="Whether this account's posts and reactions may be used for training."
    )
    learn_permission = models.CharField(
        max_length=500, blank=True, help_text="The permission to learn from this platform, where its terms ask for one."
    )
    daily_budget = models.DecimalField(
        max_digits=8,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="US dollars that calls may cost per UTC day; empty: no bound.",
    )
    publish_after = models.DateTimeField(
        null=True, editable=False, help_text="The platform asked us to send nothing before this moment."
    )
    read_after = models.DateTimeField(
        null=True, editable=False, help_text="The platform asked us to read nothing before this moment."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="connection_of_organization"),
            models.UniqueConstraint(fields=["organization", "name"], name="connection_name_once"),
            models.CheckConstraint(condition=models.Q(state__in=["connected", "broken"]), name="connection_state"),
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def label(self) -> str:
        """The platform's name."""
        return FACES[self.kind].label

    @property
    def face(self) -> Face:
        return FACES[self.kind].load()(self)

    @property
    def capabilities(self) -> Capabilities:
        return self.face.capabilities

    @property
    def secrets(self) -> dict[str, Any]:
        """The credentials in the clear, for the face alone. Raises FaceError when they do not open: nothing was sent,
        and the connection waits for its owner.
        """
        try:
            return vault.unseal(self, "credentials", self.credentials)
        except vault.VaultError as error:
            raise FaceError(str(error), permanent=True, credentials=True) from None

    @property
    def simulated(self) -> bool:
        """Whether reactions here are simulated; pages and API label them so."""
        return self.capabilities.simulated


class Authorization(TenantModel):
    """A connection in the making: a person was sent to the platform to allow it, and has not come back yet."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=120)
    settings = models.JSONField(default=dict)
    credentials = models.TextField(editable=False, help_text="Sealed; what must be known when the person comes back.")
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE, related_name="+")
    user_id = models.UUIDField(help_text="Who was sent: nobody else may finish it.")
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


class Usage(TenantModel):
    """Calls of one operation in one window of time, and what they cost: what limits and budgets are held against."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="usage")
    operation = models.CharField(max_length=10)
    seconds = models.PositiveIntegerField(help_text="Length of the limit's window; 0: totals of a UTC day.")
    start = models.DateTimeField()
    calls = models.PositiveIntegerField(default=0)
    microdollars = models.PositiveBigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["connection", "operation", "seconds", "start"], name="usage_window_once"),
        ]

    def __str__(self) -> str:
        return f"{self.operation}: {self.calls} since {self.start}"


class BilledRead(TenantModel):
    """A post whose reading a platform has billed on a UTC day: reading it again that day costs nothing."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    remote_id = models.CharField(max_length=300)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["connection", "day", "remote_id"], name="read_billed_once_per_day"),
        ]

    def __str__(self) -> str:
        return f"{self.remote_id} on {self.day}"


from faces.kinds.sandbox.models import SandboxPost, SandboxWorld  # noqa: E402 - after Connection, which they point to

__all__ = ["Authorization", "BilledRead", "Connection", "SandboxPost", "SandboxWorld", "Usage"]
