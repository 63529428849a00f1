"""An organization with everything, its export, and ways to look into and spoil one."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from accounts import exporting, vault
from accounts.export_archive import rows_entry
from accounts.exports import MANIFEST
from accounts.models import AuditEntry, Consumption, Export, IdempotencyKey, Membership
from accounts.tenancy import tenant
from accounts.tokens import create_token
from faces.contract import OutgoingImage, OutgoingPost
from tests.everything import Everything, make_everything
from tests.factories import PNG, World, make_connection
from training.models import ModelVersion

SECRET = "canary-3f9d0b7c-credential"
HEADER = b'{"__metadata__":{}}'
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER
Spoil = Callable[[dict[str, bytes]], None]


def fill(world: World) -> Everything:
    """Everything that Acme could have: a row of every kind, files of every kind, secrets of every kind."""
    with tenant(world.acme.pk):
        made = make_everything()
        made.dataset.file.save("posts of summer.csv", ContentFile(b"text\nhello\n"), save=False)
        made.dataset.size = 11
        made.dataset.save()
        made.image.size = len(PNG)
        made.image.save()
        for version in ModelVersion.objects.all():
            _store_weights(version)
        made.connection.face.publish(OutgoingPost("A picture", (OutgoingImage(PNG, "image/png", "A pixel"),)), "key-1")
        broken = make_connection("mastodon", settings={"instance": "https://mastodon.example"}, may_learn=True)
        broken.credentials = vault.seal(broken, "credentials", {"access_token": SECRET})
        broken.save()
        made.webhook.secrets = vault.seal(made.webhook, "secrets", {"secrets": [SECRET]})
        made.webhook.save()
        create_token(Membership.objects.get(user=world.alice), "A program")
        IdempotencyKey.objects.create(
            caller="x", key="k", request_sha256="0" * 64, body=SECRET, created_at=made.run.created_at
        )
        Consumption.objects.create(quota="posts_per_day", day="2026-01-01", amount=3)
        made.post.provenance = {"run": str(made.run.pk), "nearest_text": "old"}
        made.post.model_version_id = made.version.pk
        made.post.save()
        AuditEntry.objects.create(
            actor="alice", action="post.edit", object_type="post", object_id=str(made.post.pk),
            after={"runs": {str(made.run.pk): [str(made.dataset.pk)]}},
        )  # fmt: skip
    return made


def _store_weights(version: ModelVersion) -> None:
    for name, content in (("model.safetensors", WEIGHTS), ("adam.tensors", WEIGHTS), ("config.json", b"{}")):
        default_storage.save(f"{version.folder}/{name}", ContentFile(content))
    version.checksum, version.size = hashlib.sha256(WEIGHTS).hexdigest(), 2 * len(WEIGHTS) + 2
    version.save()


def export(organization_id: UUID) -> bytes:
    """The zip of an export that was asked for and made."""
    with tenant(organization_id):
        asked = exporting.request_export()
        exporting.make_export(asked.pk)
        made = Export.objects.get(pk=asked.pk)
        assert (made.state, made.error) == ("ready", "")
        with default_storage.open(made.name, "rb") as file:
            return file.read()


def entries(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def manifest(archive: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(entries(archive)[MANIFEST])
    return found


def rows(archive: bytes, label: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in entries(archive)[rows_entry(label)].splitlines()]


def packed(found: dict[str, bytes], *, honest: bool = True) -> bytes:
    """A zip of these entries; `honest` puts the hashes and numbers of rows that the manifest claims right again."""
    if honest:
        told = json.loads(found[MANIFEST])
        told["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in found.items() if name != MANIFEST}
        told["rows"] = {
            name.removeprefix("rows/").removesuffix(".jsonl"): data.count(b"\n")
            for name, data in found.items()
            if name.startswith("rows/")
        }
        found = found | {MANIFEST: json.dumps(told).encode()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in found.items():
            archive.writestr(name, data)
    return out.getvalue()


def change(archive: bytes, label: str, **values: Any) -> bytes:
    """The archive with columns of the first row of a model changed."""
    found = entries(archive)
    lines = found[rows_entry(label)].splitlines(keepends=True)
    lines[0] = json.dumps(json.loads(lines[0]) | values).encode() + b"\n"
    return packed(found | {rows_entry(label): b"".join(lines)})
