"""Exports: everything of one organization and nothing of another, no secret, one moment, little memory, a link for a
day.
"""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core import mail, signing
from django.core.exceptions import ValidationError
from django.core.files.storage import default_storage
from django.db import connection, models, transaction
from django.test import Client
from django.urls import reverse

from accounts import audit, clock, export_archive, exporting, exports, vault
from accounts.models import AuditEntry, Export, Notification
from accounts.tenancy import tenant
from tests.accounts.exported import SECRET, entries, export, fill, manifest, rows
from tests.everything import Everything
from tests.factories import World, client_of, make_bot, make_dataset
from tests.telling import mailed
from training.models import Example

HARMLESS = {
    "accounts.ApiToken.prefix",
    "accounts.Invitation.sha256",
    "bots.Post.payload_sha256",
    "bots.Post.approved_sha256",
    "bots.Post.platform_key",
    "bots.PostImage.sha256",
    "bots.ReplyRules.keywords",
    "faces.SandboxPost.key",
}
"""Columns that sound like a secret and were looked at: none is one."""
SUSPECT = ("secret", "credential", "token", "password", "sha256", "key", "prefix", "private", "sealed")


@pytest.fixture(autouse=True)
def _storage(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT, settings.VAR = tmp_path / "media", tmp_path


@pytest.fixture
def one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own transaction, which cannot change its isolation half-way."""
    monkeypatch.setattr(export_archive, "_one_moment", transaction.atomic)


@pytest.fixture
def full(world: World, one_transaction: None) -> Everything:
    return fill(world)


def test_every_model_says_how_it_travels() -> None:
    for model in exports.tenant_models():
        exports.treatment_of(model)  # raises LookupError, with words, for one that nobody registered


def test_an_unregistered_model_stops_an_export(full: Everything, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(exports._treatments, "training.Metric")
    with tenant(world.acme.pk):
        asked = exporting.request_export()
        exporting.make_export(asked.pk)
        asked.refresh_from_db()
    assert (asked.state, asked.name) == ("failed", "")


def test_no_column_that_holds_a_secret_leaves() -> None:
    leaving = {model._meta.label: {c.name for c in exports.columns_of(model)} for model in exports.leaving()}
    for label, column in vault.SEALED:
        assert column not in leaving.get(label, set()), f"{label}.{column} is sealed and would leave"
    suspects = {
        f"{label}.{name}" for label, names in leaving.items() for name in names if any(s in name for s in SUSPECT)
    }
    assert suspects - HARMLESS == set()


def test_no_person_leaves_as_a_row() -> None:
    free = {
        f"{model._meta.label}.{column.name}"
        for model in exports.leaving()
        for column in exports.columns_of(model)
        if isinstance(column, models.ForeignKey) and column.related_model not in exports.tenant_models()
    }
    assert free == set()


def test_the_archive_has_every_row_and_file_of_its_organization_and_no_other(full: Everything, world: World) -> None:
    with tenant(world.globex.pk):
        theirs = make_bot(name="Of Globex")
    archive = export(world.acme.pk)
    told = manifest(archive)
    with tenant(world.acme.pk):
        counted = {model._meta.label: model.objects.count() for model in exports.leaving()}
    # Making it ends with one line of the audit log more.
    assert told["rows"] == counted | {"accounts.AuditEntry": counted["accounts.AuditEntry"] - 1}
    assert all(told["rows"].values())
    found = entries(archive)
    assert {name: hashlib.sha256(data).hexdigest() for name, data in found.items() if name != "manifest.json"} == told[
        "sha256"
    ]
    assert (told["format"], told["organization"]["name"], told["missing_files"]) == (1, "Acme", [])
    assert found[f"files/training.Dataset/{full.dataset.pk}/file"] == b"text\nhello\n"
    assert f"files/training.ModelVersion/{full.version.pk}/model.safetensors" in found
    assert f"files/bots.PostImage/{full.image.pk}/file" in found
    assert any(name.startswith(f"files/faces.Connection/{full.connection.pk}/") for name in found)
    everything = b"".join(found.values())
    assert str(theirs.pk).encode() not in everything
    assert str(world.globex.pk).encode() not in everything
    assert {"email": "bob@kilroy.example", "role": "viewer"} in told["members"]


def test_no_secret_is_in_the_archive(full: Everything, world: World) -> None:
    with tenant(world.acme.pk):
        sealed = [full.webhook.secrets, *(c.credentials for c in type(full.connection).objects.all() if c.credentials)]
        hashes = [full.invitation.sha256]
    everything = b"".join(entries(export(world.acme.pk)).values())
    assert len(sealed) == 2
    for secret in (SECRET, *sealed, *hashes):
        assert secret.encode() not in everything


def test_a_file_that_is_gone_is_named_and_stops_nothing(full: Everything, world: World) -> None:
    default_storage.delete(full.image.file.name)
    assert manifest(export(world.acme.pk))["missing_files"] == [f"files/bots.PostImage/{full.image.pk}/file"]


@pytest.mark.django_db(transaction=True)
def test_the_rows_are_those_of_one_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot that is made, with a dataset, while the export reads, is in no list of rows."""
    real, writers = export_archive._write_rows, []

    def write_rows(writer: Any, model: Any, files: Any) -> int:
        if model._meta.label == "bots.Schedule":  # bots are read, datasets are not
            thread = threading.Thread(target=late)
            thread.start()
            thread.join()
        return real(writer, model, files)

    def late() -> None:
        with tenant(world.acme.pk):
            writers.append(make_dataset(make_bot(name="Late"), examples=1))
        connection.close()

    monkeypatch.setattr(export_archive, "_write_rows", write_rows)
    archive = export(world.acme.pk)
    assert len(writers) == 1
    assert (rows(archive, "bots.Bot"), rows(archive, "training.Dataset"), rows(archive, "training.Example")) == (
        [],
        [],
        [],
    )


def test_memory_does_not_grow_with_the_rows(
    world: World, one_transaction: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 MB of rows leave within 25 MB."""
    with tenant(world.acme.pk), connection.cursor() as cursor:
        dataset = make_dataset(make_bot())
        cursor.execute(
            """
            INSERT INTO training_example (organization_id, dataset_id, position, text, author, community, topic,
                                          context, quarantined, source, licence, may_learn, source_id)
            SELECT %s, %s, n, repeat('a long text ', 125), '', '', '', '', '', '', '', true, ''
            FROM generate_series(1, 30000) n
            """,
            [world.acme.pk, dataset.pk],
        )
    process, real, seen = psutil.Process(), export_archive.line_of, [0]

    def line_of(row: dict[str, Any]) -> bytes:
        if row.get("position", 1) % 1000 == 0:
            seen.append(process.memory_info().rss)
        return real(row)

    monkeypatch.setattr(export_archive, "line_of", line_of)
    before = process.memory_info().rss
    with tenant(world.acme.pk):
        asked = exporting.request_export()
        exporting.make_export(asked.pk)
        asked.refresh_from_db()
    assert (asked.rows["training.Example"], len(seen)) == (30_000, 31)
    assert max(seen) - before < 25e6


def test_rows_are_read_page_by_page(world: World, one_transaction: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_archive, "PAGE", 7)
    with tenant(world.acme.pk):
        dataset = make_dataset(make_bot(), examples=21)
        texts = list(Example.objects.filter(dataset=dataset).order_by("pk").values_list("text", flat=True))
    assert [row["text"] for row in rows(export(world.acme.pk), "training.Example")] == texts


def test_one_export_at_a_time_and_five_a_day(world: World, one_transaction: None) -> None:
    with tenant(world.acme.pk):
        first = exporting.request_export()
        with pytest.raises(ValidationError, match="being made already"):
            exporting.request_export()
        exporting.delete_export(first.pk)
        with clock.simulated(clock.now()) as time:
            for _ in range(4):
                exporting.delete_export(exporting.request_export().pk)  # deleting one does not make room for another
            with pytest.raises(ValidationError, match="5 exports were asked for within 24 hours"):
                exporting.request_export()
            time.advance(timedelta(hours=25))
            exporting.request_export()


def _link(world: World) -> str:
    with tenant(world.acme.pk):
        return exporting.link_of(Export.objects.get())


def test_whoever_has_the_link_downloads_and_it_is_written_down(world: World, one_transaction: None) -> None:
    archive = export(world.acme.pk)
    answer = Client().get(_link(world))
    assert b"".join(answer.streaming_content) == archive
    assert answer["Cache-Control"] == "private, no-store"
    assert answer["Content-Disposition"].startswith('attachment; filename="acme-')
    assert answer["Content-Length"] == str(len(archive))
    with tenant(world.acme.pk):
        line = AuditEntry.objects.get(action="export.download")
    assert (line.actor, line.address) == ("whoever has the link", "127.0.0.1")


def test_a_link_that_is_changed_old_or_of_a_deleted_export_is_none(
    world: World, one_transaction: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(world.acme.pk)
    link, client = _link(world), Client()
    with tenant(world.acme.pk):
        made = Export.objects.get()
    elsewhere = signing.TimestampSigner(salt="another").sign_object(
        {"export": str(made.pk), "organization": str(world.acme.pk)}
    )
    foreign = exporting._links.sign_object({"export": str(made.pk), "organization": str(world.globex.pk)})
    for signed in (link[:-3] + "x/", *(reverse("accounts:export-download", args=[s]) for s in (elsewhere, foreign))):
        assert client.get(signed).status_code == 404
    with monkeypatch.context() as later:
        later.setattr(signing.time, "time", lambda: made.created_at.timestamp() + 90_000)
        assert client.get(link).status_code == 404
    with tenant(world.acme.pk):
        exporting.delete_export(made.pk)
    assert client.get(link).status_code == 404


def test_the_owner_who_asked_is_told_without_the_link_itself(
    world: World, one_transaction: None, django_capture_on_commit_callbacks: Any
) -> None:
    with audit.acting(audit.Actor(world.alice.email, world.alice)), django_capture_on_commit_callbacks(execute=True):
        export(world.acme.pk)
    with tenant(world.acme.pk):
        assert mailed() == ["Kilroy: Your export is ready"]
        assert Notification.objects.get().path == "/o/acme/settings/exports/"
    assert mail.outbox[0].to == ["alice@kilroy.example"]
    assert "/exports/" not in mail.outbox[0].body  # whoever has that link downloads everything, without signing in


def test_after_a_day_the_file_goes_and_the_record_stays(
    world: World, one_transaction: None, django_capture_on_commit_callbacks: Any
) -> None:
    with clock.simulated(clock.now()) as time:
        export(world.acme.pk)
        with tenant(world.acme.pk):
            name = Export.objects.get().name
        exporting.sweep_exports()
        assert default_storage.exists(name)
        time.advance(timedelta(hours=24, seconds=1))
        with django_capture_on_commit_callbacks(execute=True):
            exporting.sweep_exports()
        with tenant(world.acme.pk):
            row = Export.objects.get()
            assert (row.name, row.state, exporting.link_of(row)) == ("", "ready", "")
    assert not default_storage.exists(name)


def test_deleting_removes_the_file(
    world: World, one_transaction: None, django_capture_on_commit_callbacks: Any
) -> None:
    export(world.acme.pk)
    with tenant(world.acme.pk):
        made = Export.objects.get()
        with django_capture_on_commit_callbacks(execute=True):
            exporting.delete_export(made.pk)
        assert not Export.objects.exists()
    assert not default_storage.exists(made.name)


def test_an_export_whose_worker_died_is_rung_for_and_starts_over(
    world: World, one_transaction: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(exporting, "ring", lambda *told: rung.append(told))
    with tenant(world.acme.pk):
        asked = exporting.request_export()
        assert exporting._claim(asked.pk) is not None
        assert exporting._claim(asked.pk) is None  # a second worker has nothing to take
    rung.clear()
    exporting.sweep_exports()
    assert rung == []
    with tenant(world.acme.pk):
        Export.objects.update(lease_until=clock.now() - timedelta(hours=1))
    exporting.sweep_exports()
    assert rung == [(exporting.MAKE, world.acme.pk, asked.pk)]
    with tenant(world.acme.pk):
        exporting.make_export(asked.pk)
        exporting.make_export(asked.pk)  # the bell that comes twice
        asked.refresh_from_db()
        assert (asked.state, AuditEntry.objects.filter(action="export.finish").count()) == ("ready", 1)


def test_an_export_that_is_deleted_while_it_is_made_leaves_no_file(
    full: Everything, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "RENEW_EVERY", -1.0)
    with tenant(world.acme.pk):
        asked = exporting.request_export()
        real = export_archive._write_files

        def deleting(*told: Any) -> Any:
            exporting.delete_export(asked.pk)
            return real(*told)

        monkeypatch.setattr(export_archive, "_write_files", deleting)
        exporting.make_export(asked.pk)
        assert not Export.objects.filter(pk=asked.pk).exists()
    assert not default_storage.exists("exports") or default_storage.listdir("exports")[1] == []


def test_the_page_is_for_owners_and_shows_the_link(world: World, one_transaction: None) -> None:
    page, alice = "/o/acme/settings/exports/", client_of(world.alice)
    assert client_of(world.bob).get(page).status_code == 403
    assert client_of(world.charlie).get(page).status_code == 404
    assert "No export yet" in alice.get(page).content.decode()
    answer = alice.post(page, follow=True)
    assert "Waiting" in answer.content.decode()
    assert "being made already" in alice.post(page, follow=True).content.decode()
    with tenant(world.acme.pk):
        exporting.make_export(Export.objects.get().pk)
    assert "Download" in alice.get(page).content.decode()
    with tenant(world.acme.pk):
        pk = Export.objects.get().pk
    assert client_of(world.charlie).post(f"/o/globex/settings/exports/{pk}/delete/").status_code == 404
    assert "No export yet" in alice.post(f"{page}{pk}/delete/", follow=True).content.decode()


def test_rows_keep_their_values_to_the_microsecond() -> None:
    line = exports.line_of({"at": clock.now().replace(microsecond=123457), "value": float("nan")})
    told = json.loads(line)
    assert (".123457" in told["at"], told["value"]) == (True, "nan")
