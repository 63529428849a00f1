"""Imports: an organization comes through whole and at rest, and a spoiled archive not at all."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client

from accounts import export_archive, exports, imports
from accounts.export_archive import rows_entry
from accounts.exports import Passage
from accounts.imports import Arrived, import_organization
from accounts.models import AuditEntry, Membership, User
from accounts.tenancy import tenant
from bots.models import Bot, Post, PostImage, Schedule
from bots.services import posts as post_services
from bots.states import PostState
from faces.models import Connection, SandboxPost
from tests.accounts.exported import entries, export, fill, manifest, packed, rows
from tests.everything import Everything
from tests.factories import World, client_of
from training.models import Canary, Generation, Harvest, ModelVersion, Retraining, Run

CHANGED: dict[str, set[str]] = {
    "accounts.Webhook": {"active", "disabled_reason"},
    "accounts.WebhookDelivery": {"state", "next_attempt_at", "lease_until"},
    "bots.Bot": {"paused_at", "pause_reason"},
    "bots.Incoming": {"state", "reason", "lease_until"},
    "bots.Post": {
        *("state", "slot_utc", "schedule_id", "platform_key", "owner", "lease_until", "last_error", "not_before"),
        *("payload_sha256", "approved_sha256"),
    },
    "bots.Schedule": {"active"},
    "faces.Connection": {"state", "problem"},
    "faces.SandboxPost": {"key"},
    "training.Canary": {"state", "reason", "ended_at"},
    "training.Generation": {"state", "error", "finished_at", "group"},
    "training.Harvest": {"active", "next_at"},
    "training.ModelVersion": {"folder"},
    "training.Run": {"state", "wish", "owner", "lease_until", "finished_at"},
}
"""What does not go on by itself where it arrives, and what is unique in an installation."""
AGAIN = {
    "training.Generation": {"group"},
    "training.ModelVersion": {"folder"},
    "bots.Post": {"platform_key", "payload_sha256"},
    "faces.SandboxPost": {"key"},
}
"""What is another one in every copy."""


@pytest.fixture(autouse=True)
def _places(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MEDIA_ROOT, settings.VAR = tmp_path / "media", tmp_path
    monkeypatch.setattr(export_archive, "_one_moment", transaction.atomic)  # a test has begun its own already


@pytest.fixture
def full(world: World) -> Everything:
    return fill(world)


@pytest.fixture
def archive(full: Everything, world: World) -> bytes:
    return export(world.acme.pk)


def bring(archive: bytes, owner: User, **given: Any) -> Arrived:
    return import_organization(io.BytesIO(archive), owner, **given)


def _alike(label: str, before: bytes, after: bytes, passage: Passage, apart: set[str]) -> None:
    """The rows of a model are the same in both archives once the ids of the first are those of the import."""

    def plain(row: dict[str, Any]) -> str:
        return json.dumps({name: value for name, value in row.items() if name not in apart}, sort_keys=True)

    model = next(model for model in exports.leaving() if model._meta.label == label)
    numbered = {"id"} if isinstance(rows(before, label)[0]["id"], int) else set()
    numbered |= {
        c.attname
        for c in exports.columns_of(model)
        if c.is_relation and c.related_model in exports.numbered_targets(model)
    }
    apart = apart | numbered
    assert sorted(plain(passage.value(row)) for row in rows(before, label)) == sorted(
        plain(row) for row in rows(after, label)
    ), label


@pytest.fixture
def passages(monkeypatch: pytest.MonkeyPatch) -> list[Passage]:
    """The passages of the imports of this test."""
    made: list[Passage] = []

    def passage() -> Passage:
        made.append(Passage())
        return made[-1]

    monkeypatch.setattr(imports, "Passage", passage)
    return made


def test_an_organization_comes_through_whole(
    full: Everything, world: World, archive: bytes, passages: list[Passage]
) -> None:
    arrived = bring(archive, world.charlie)
    told = manifest(archive)["rows"]
    imported = {model._meta.label for model in exports.arriving()}
    assert arrived.rows == {label: told[label] for label in arrived.rows}
    assert set(arrived.rows) == imported
    assert set(arrived.left_out) == set(told) - imported
    again = export(arrived.organization.pk)
    for label in sorted(imported - {"accounts.AuditEntry"}):
        _alike(label, archive, again, passages[0], CHANGED.get(label, set()))
    lines = [passages[0].value(row)["after"] for row in rows(archive, "accounts.AuditEntry")]
    # Before them: two of the organization's beginning. After them: of the import, and of the export just made.
    assert [row["after"] for row in rows(again, "accounts.AuditEntry")][2:-2] == lines

    third = export(bring(again, world.charlie).organization.pk)
    for label in sorted(imported - {"accounts.AuditEntry"}):
        _alike(label, again, third, passages[1], AGAIN.get(label, set()))


def test_every_file_comes_through(full: Everything, world: World, archive: bytes, passages: list[Passage]) -> None:
    again = export(bring(archive, world.charlie).organization.pk)

    def files(found: bytes, rename: Callable[[str], Any]) -> dict[str, bytes]:
        return {
            "/".join(rename(part) for part in name.split("/")): data
            for name, data in entries(found).items()
            if name.startswith("files/")
        }

    before, after = files(archive, passages[0].value), files(again, str)
    assert len(before) == 9  # a dataset's, an image, six of two models, one of the sandbox
    assert after == before


def test_every_reference_stays_inside(full: Everything, world: World, archive: bytes) -> None:
    """Asked of the database itself: no row of the new organization points to a row of another one, also where nothing
    but the application knows that it points.
    """
    arrived = bring(archive, world.charlie)
    old = {row["id"] for label in arrived.rows for row in rows(archive, label) if isinstance(row["id"], str)}
    again = b"".join(data for name, data in entries(export(arrived.organization.pk)).items() if name.endswith(".jsonl"))
    found = set(re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", again.decode()))
    assert found & old == set()
    with tenant(arrived.organization.pk):
        post = Post.objects.get(text=full.post.text)
        assert post.provenance["run"] == str(Run.objects.get(kind="offline", state="finished").pk)
        assert post.model_version_id == ModelVersion.objects.get(tags=["first"]).pk
        line = AuditEntry.objects.get(action="post.edit")
        assert line.object_id == str(post.pk)
        assert list(line.after["runs"]) == [post.provenance["run"]]
        observation = post_services.Post.objects.get(reward__isnull=False).observations.get()
        assert observation.pk == Post.objects.get(reward__isnull=False).reward.observation_id


def test_nothing_goes_on_by_itself(full: Everything, world: World, archive: bytes) -> None:
    with tenant(bring(archive, world.charlie).organization.pk):
        assert not Bot.objects.filter(paused_at=None).exists()
        assert not Schedule.objects.filter(active=True).exists()
        assert not Harvest.objects.filter(active=True).exists()
        assert not Retraining.objects.filter(active=True).exists()
        assert not Run.objects.filter(state__in=Run.LIVING).exists()
        assert not Canary.objects.filter(state="running").exists()
        assert not Generation.objects.filter(state="queued").exists()
        connections = dict(Connection.objects.values_list("kind", "state"))
        assert connections == {"sandbox": "connected", "mastodon": "broken"}
        assert set(Connection.objects.values_list("credentials", flat=True)) == {""}
        member = Membership.objects.get()
        assert (member.user, member.role) == (world.charlie, "owner")


def test_nothing_is_published_by_two_installations(full: Everything, world: World, archive: bytes) -> None:
    texts = {post.text: state for state, post in full.posts.items()}
    with tenant(bring(archive, world.charlie).organization.pk):
        became = {texts[p.text]: PostState(p.state) for p in Post.objects.filter(text__in=texts)}
        assert not Post.objects.filter(state="approved").exclude(slot_utc=None).exists()
        assert not Post.objects.exclude(lease_until=None).exists()
    moved = {state: new for state, new in became.items() if state != new}
    assert moved == {
        "scheduled": "approved",
        "queued": "approved",
        "leased": "approved",
        "sending": "needs_human",
        "unknown": "needs_human",
    }


def test_the_sandbox_works_where_it_arrives(full: Everything, world: World, archive: bytes) -> None:
    with tenant(bring(archive, world.charlie).organization.pk):
        connection = Connection.objects.get(kind="sandbox")
        posted = SandboxPost.objects.get(connection=connection)
        assert connection.face.metrics([posted.remote_id])[posted.remote_id] is not None
        assert default_storage.exists(f"sandbox/{connection.pk}/{posted.images[0]['sha256']}")
        image = PostImage.objects.get()
        with image.file.open() as file:
            assert (len(file.read()), str(image.pk) in image.file.name) == (image.size, True)


def test_a_thread_keeps_its_approval(full: Everything, world: World) -> None:
    with tenant(world.acme.pk):
        part = Post.objects.get(continues__isnull=False)
        part.payload_sha256 = post_services.payload_sha256(post_services.outgoing(part), part.continues_id)
        part.approved_sha256, part.state = part.payload_sha256, PostState.PENDING_REVIEW
        part.save()
    with tenant(bring(export(world.acme.pk), world.charlie).organization.pk):
        part = Post.objects.get(continues__isnull=False)
        now = post_services.payload_sha256(post_services.outgoing(part), part.continues_id)
        assert (part.payload_sha256, part.approved_sha256) == (now, now)


def test_what_the_rules_forbid_is_not_approved_by_an_archive(world: World, full: Everything) -> None:
    with tenant(world.acme.pk):
        Post.objects.filter(state="approved").update(text="This is forbidden here")
    with tenant(bring(export(world.acme.pk), world.charlie).organization.pk):
        post = Post.objects.get(text="This is forbidden here")
        assert (post.state, post.approved_sha256) == ("blocked", "")
        assert post.verdicts.get(rule="blocklist").value == "block"


def test_two_copies_live_side_by_side(world: World, archive: bytes) -> None:
    first, second = bring(archive, world.charlie), bring(archive, world.alice)
    assert [first.organization.slug, second.organization.slug] == ["acme-2", "acme-3"]
    assert dict(first.members) == {"alice@kilroy.example": "owner", "bob@kilroy.example": "viewer"} | dict(
        each for each in first.members if each[0].startswith("person")
    )
    assert world.alice.email not in dict(second.members)


def test_an_older_archive_without_a_column_takes_the_default(world: World, archive: bytes) -> None:
    found = entries(archive)
    lines = [json.loads(line) for line in found[rows_entry("bots.Bot")].splitlines()]
    for row in lines:
        del row["queue_order"]
    found[rows_entry("bots.Bot")] = b"".join(json.dumps(row).encode() + b"\n" for row in lines)
    with tenant(bring(packed(found), world.charlie).organization.pk):
        assert Bot.objects.get().queue_order == "given"


def test_the_command(world: World, archive: bytes, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "acme.zip"
    file.write_bytes(archive)
    call_command("import_organization", str(file), owner="CHARLIE@kilroy.example", slug="acme-copy")
    said = capsys.readouterr().out
    assert "Imported Acme as /o/acme-copy/" in said
    assert "to be invited: bob@kilroy.example (viewer)" in said
    for given, told in (
        ({"owner": "nobody@kilroy.example"}, "nobody with the address"),
        ({"owner": world.charlie.email, "slug": "acme-copy"}, "is taken"),
        ({"owner": world.charlie.email, "slug": "no slug"}, "valid"),
    ):
        with pytest.raises(CommandError, match=told):
            call_command("import_organization", str(file), **given)
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_organization", str(tmp_path / "none.zip"), owner=world.charlie.email)


def test_the_page(world: World, archive: bytes) -> None:
    charlie, address = client_of(world.charlie), "/organizations/import/"
    assert Client().get(address).status_code == 302
    assert "Import an organization" in charlie.get(address).content.decode()
    done = charlie.post(address, {"file": io.BytesIO(archive)})
    assert (done.status_code, "Acme is here" in done.content.decode()) == (200, True)
    assert "bob@kilroy.example" in done.content.decode()
    refused = charlie.post(address, {"file": io.BytesIO(b"no zip at all")})
    assert (refused.status_code, "is damaged" in refused.content.decode()) == (400, True)
