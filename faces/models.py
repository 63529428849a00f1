"""Where a bot speaks: an organization's connections to platforms."""

from __future__ import annotations

import uuid

from django.db import models

from accounts.tenancy import TenantModel
from faces.contract import Capabilities, Face
from faces.registry import FACES


class Connection(TenantModel):
    """One account on one platform, reached through the face named by `kind`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=120)
    settings = models.JSONField(default=dict, blank=True)
    may_learn = models.BooleanField(
        default=False, help_text="Whether this account's posts and reactions may be used for training."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="connection_of_organization"),
            models.UniqueConstraint(fields=["organization", "name"], name="connection_name_once"),
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def face(self) -> Face:
        return FACES[self.kind].load()(self)

    @property
    def capabilities(self) -> Capabilities:
        return FACES[self.kind].load().capabilities

    @property
    def simulated(self) -> bool:
        """Whether reactions here are simulated; pages and API label them so."""
        return self.capabilities.simulated


from faces.kinds.sandbox.models import SandboxPost, SandboxWorld  # noqa: E402 - after Connection, which they point to

__all__ = ["Connection", "SandboxPost", "SandboxWorld"]
