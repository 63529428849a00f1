"""What the sandbox's platform remembers: its worlds and what was posted there."""

from __future__ import annotations

from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import models

from accounts.leaving import remove_folder
from accounts.tenancy import TenantModel
from faces.contract import OutgoingImage


class SandboxWorld(TenantModel):
    """The simulated platform behind one connection. Its facts are fixed when it is first used: changing them would
    rewrite the past.
    """

    id = models.BigAutoField(primary_key=True)
    connection = models.OneToOneField("faces.Connection", on_delete=models.CASCADE, related_name="sandbox_world")
    seed = models.BigIntegerField()
    followers = models.FloatField(help_text="Followers before the first post.")
    clock_speed = models.FloatField(help_text="Platform seconds that pass in one real second.")

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=models.Q(followers__gt=0), name="sandbox_world_has_followers"),
            models.CheckConstraint(condition=models.Q(clock_speed__gt=0), name="sandbox_world_clock_runs"),
        ]


class SandboxPost(TenantModel):
    """One post on the simulated platform. `number` is the platform's id for it, `key` the publisher's."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey("faces.Connection", on_delete=models.CASCADE, related_name="sandbox_posts")
    number = models.PositiveIntegerField()
    key = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    images = models.JSONField(default=list, blank=True, help_text="For each image: sha256, media_type, alt_text.")
    reply_to = models.CharField(max_length=40, blank=True)
    published_at = models.DateTimeField()
    expected = models.FloatField(
        help_text="The audience's expected reaction, log units. Never shown to whoever learns."
    )
    followers = models.FloatField(help_text="Followers when it appeared: its exposure.")
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["connection", "key"], name="sandbox_post_key_once"),
            models.UniqueConstraint(fields=["connection", "number"], name="sandbox_post_number_once"),
        ]
        ordering = ["number"]

    def __str__(self) -> str:
        return self.text[:80]

    @property
    def remote_id(self) -> str:
        return str(self.number)


def image_name(connection_id: Any, sha256: str) -> str:
    """Where Django's storage keeps an image of a connection."""
    return f"sandbox/{connection_id}/{sha256}"


def remove_images() -> dict[str, Any]:
    """Remove the images of the active organization's sandboxes, at its end."""
    for connection_id in SandboxWorld.objects.values_list("connection_id", flat=True):
        remove_folder(f"sandbox/{connection_id}")
    return {}


def store_image(connection_id: Any, sha256: str, image: OutgoingImage) -> None:
    """Keep an image's bytes, once however often it is posted."""
    name = image_name(connection_id, sha256)
    if not default_storage.exists(name):
        default_storage.save(name, ContentFile(image.content))
