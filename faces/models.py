"""Where a bot speaks: an organization's connections to platforms."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from accounts import vault
from accounts.tenancy import TenantModel
from faces.contract import Capabilities, Face
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
        """The credentials in the clear, for the face alone. Raises VaultError."""
        return vault.unseal(self, "credentials", self.credentials)

    @property
    def simulated(self) -> bool:
        """Whether reactions here are simulated; pages and API label them so."""
        return self.capabilities.simulated


from faces.kinds.sandbox.models import SandboxPost, SandboxWorld  # noqa: E402 - after Connection, which they point to

__all__ = ["Connection", "SandboxPost", "SandboxWorld"]
