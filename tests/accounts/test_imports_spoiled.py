"""Spoiled archives: each is refused with words, and leaves neither a row nor a file."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import struct
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from accounts import export_archive, import_archive, imports
from accounts.export_archive import rows_entry
from accounts.exports import MANIFEST, ImportRefused
from accounts.import_archive import PAGE, Limits
from accounts.imports import Arrived, import_organization
from accounts.models import Organization, User
from accounts.tenancy import MARK
from tests.accounts.exported import change, entries, export, fill, packed, rows
from tests.factories import World


@pytest.fixture(autouse=True)
def _places(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MEDIA_ROOT, settings.VAR = tmp_path / "media", tmp_path
    monkeypatch.setattr(export_archive, "_one_moment", transaction.atomic)  # a test has begun its own already


@pytest.fixture
def archive(world: World) -> bytes:
    fill(world)
    return export(world.acme.pk)


def bring(archive: bytes, owner: User, **given: Any) -> Arrived:
    return import_organization(io.BytesIO(archive), owner, **given)


def _links(archive: bytes) -> bytes:
    out = io.BytesIO(archive)
    with zipfile.ZipFile(out, "a") as opened:
        info = zipfile.ZipInfo(f"files/training.Dataset/{uuid.uuid4()}/file")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(info, "/etc/passwd")
    return out.getvalue()


def _named(name: str, data: bytes = b"x") -> Callable[[bytes], bytes]:
    return lambda archive: packed(entries(archive) | {name: data})


def _twice(archive: bytes) -> bytes:
    out = io.BytesIO(archive)
    with zipfile.ZipFile(out, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr(rows_entry("bots.Bot"), b"")
    return out.getvalue()


def _bomb(archive: bytes) -> bytes:
    return packed(entries(archive) | {f"files/training.Dataset/{uuid.uuid4()}/file": bytes(15_000_000)})


def _lying_bomb(archive: bytes) -> bytes:
    """The list of entries says that little comes out of it."""
    spoiled = bytearray(_bomb(archive))
    at = spoiled.rindex(b"PK\x01\x02", 0, spoiled.rindex(struct.pack("<I", 15_000_000)))
    spoiled[at + 24 : at + 28] = struct.pack("<I", 1000)
    return bytes(spoiled)


def _long_line(archive: bytes) -> bytes:
    """A line that never ends, of which only so much is ever read."""
    found = entries(archive)
    return packed(found | {rows_entry("bots.Bot"): b'{"name":"' + os.urandom(20_000).hex().encode() * 450})


def _lines(label: str, spoil: Callable[[list[bytes]], list[bytes]], *, honest: bool = True) -> Callable[[bytes], bytes]:
    def spoiled(archive: bytes) -> bytes:
        found = entries(archive)
        lines = spoil(found[rows_entry(label)].splitlines(keepends=True))
        return packed(found | {rows_entry(label): b"".join(lines)}, honest=honest)

    return spoiled


def _column(label: str, **values: Any) -> Callable[[bytes], bytes]:
    return lambda archive: change(archive, label, **values)


def _told(**values: Any) -> Callable[[bytes], bytes]:
    def spoiled(archive: bytes) -> bytes:
        found = entries(archive)
        return packed(found | {MANIFEST: json.dumps(json.loads(found[MANIFEST]) | values).encode()}, honest=False)

    return spoiled


def _model_file(name: str, data: bytes) -> Callable[[bytes], bytes]:
    def spoiled(archive: bytes) -> bytes:
        version = rows(archive, "training.ModelVersion")[0]["id"]
        return packed(entries(archive) | {f"files/training.ModelVersion/{version}/{name}": data})

    return spoiled


PICKLE = b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94."
SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda _: b"", "damaged"),
    "no zip": (lambda _: b"PK\x03\x04 but no more", "damaged"),
    "half": (lambda archive: archive[: len(archive) // 2], "damaged"),
    "no manifest": (
        lambda a: packed({n: d for n, d in entries(a).items() if n != MANIFEST}, honest=False),
        "no export",
    ),
    "manifest of a list": (lambda a: packed(entries(a) | {MANIFEST: b"[]"}, honest=False), "not what an export writes"),
    "another format": (_told(format=2), "has format 2"),
    "members of numbers": (_told(members=[1]), "not what an export writes"),
    "hashes of numbers": (_told(sha256={"a": 1}), "not what an export writes"),
    "rows that are not told": (_told(rows={}), "as many rows"),
    "traversal": (_named("files/../../../etc/cron.d/evil"), "which no export makes"),
    "absolute": (_named("/etc/passwd"), "which no export makes"),
    "backslashes": (_named("files\\..\\evil"), "which no export makes"),
    "traversal by a row": (_named("files/training.Dataset/../file"), "which no export makes"),
    "a hidden file": (_named(f"files/training.ModelVersion/{uuid.uuid4()}/.htaccess"), "which no export makes"),
    "a folder": (_named("files/"), "no ordinary file"),
    "a link": (_links, "no ordinary file"),
    "an unknown model": (_named("rows/auth.Permission.jsonl"), "which no export makes"),
    "rows that never leave": (_named("rows/accounts.IdempotencyKey.jsonl"), "which no export makes"),
    "people": (_named("rows/accounts.User.jsonl"), "which no export makes"),
    "an entry twice": (_twice, "two entries"),
    "a bomb": (_bomb, "far more than its own size"),
    "a lying bomb": (_lying_bomb, "damaged|not the file"),
    "a line without end": (_long_line, "longer than 16 MB"),
    "a wrong hash": (
        _lines("bots.Bot", lambda ls: [ls[0].replace(b"Writes", b"Paints")], honest=False),
        "not those that",
    ),
    "a wrong hash of a file": (
        lambda a: packed({n: d + b"!" if n.endswith("/file") else d for n, d in entries(a).items()}, honest=False),
        "not the file that was exported",
    ),
    "no JSON": (_lines("bots.Bot", lambda lines: [b"{]\n"]), "no JSON"),
    "deep JSON": (_lines("bots.Bot", lambda lines: [b"[" * 100_000 + b"\n"]), "no JSON"),
    "a list": (_lines("bots.Bot", lambda lines: [b"[]\n"]), "no object"),
    "not a number": (
        _lines("training.Metric", lambda ls: [ls[0].replace(b'"value":', b'"value":NaN,"x":')]),
        "no JSON",
    ),
    "a row twice": (_lines("bots.Post", lambda lines: [*lines, lines[0]]), "two rows with the same id"),
    "a number twice": (_lines("training.Metric", lambda lines: [*lines, lines[0]]), "two rows with the same id"),
    "no id": (_column("bots.Bot", id=None), "without an id"),
    "an unknown column": (_column("bots.Bot", is_admin=True), "column “is_admin”"),
    "another organization": (_column("bots.Bot", organization_id=str(uuid.uuid4())), "column “organization_id”"),
    "credentials": (_column("faces.Connection", credentials="v1.x"), "column “credentials”"),
    "somebody's row": (_column("bots.Post", bot_id=str(uuid.uuid4())), "do not fit together"),
    "somebody's number": (_column("bots.Reward", observation_id=10**9), "points to a row"),
    "a wrong type": (_column("bots.Bot", name=["x"]), "cannot hold"),
    "a NUL": (_column("bots.Bot", name="a\0b"), "cannot hold"),
    "a NUL in JSON": (_column("bots.Post", provenance={"a": "b\0"}), "do not fit together"),
    "half a character": (_column("bots.Bot", name="\ud800"), "do not fit together"),
    "JSON of another shape": (_column("bots.Post", provenance=[1]), "another shape"),
    "too long": (_column("bots.Bot", name="x" * 121), "cannot hold"),
    "too large": (_column("bots.Bot", reward_age=2**40), "cannot hold"),
    "a time without a zone": (_column("bots.Bot", created_at="2026-01-01T00:00:00"), "cannot hold"),
    "no choice": (_column("bots.Bot", approval="never"), "does not know"),
    "an empty column": (_column("bots.Bot", name=None), "is empty"),
    "a formula": (_column("bots.Bot", score_formula="__import__('os')"), "cannot be used"),
    "a cron": (_column("bots.Schedule", kind="cron", cron="x"), "cannot be used"),
    "a face": (_column("faces.Connection", kind="evil"), "does not know"),
    "a setting": (_column("faces.Connection", kind="sandbox", settings={"seed": "x"}), "wrong setting"),
    "a script as a link": (_column("bots.Post", remote_url="javascript:alert(1)"), "no address of the web"),
    "a page as an image": (_column("bots.PostImage", media_type="text/html"), "cannot be published"),
    "another image": (_column("bots.PostImage", sha256="0" * 64), "not the one of its post"),
    "somebody's file": (_column("training.Dataset", file="exports/x.zip"), "cannot hold"),
    "a file of nobody": (_named(f"files/training.Dataset/{uuid.uuid4()}/file"), "which it does not have"),
    "a pickle": (_model_file("pytorch_model.bin", PICKLE), "only weights as safetensors"),
    "a pickle in disguise": (_model_file("extra.safetensors", PICKLE), "no safetensors"),
    "a pickle for moments": (_model_file("adam.tensors", PICKLE), "no safetensors"),
    "code": (_model_file("modeling.py", b"import os"), "only weights as safetensors"),
    "other weights": (_model_file("model.safetensors", b"\x02\0\0\0\0\0\0\0{}"), "not those that were stored"),
    "two living runs": (
        _lines("bots.Verdict", lambda ls: [*ls, re.sub(rb'"id":\d+', b'"id":99999999', ls[0])]),
        "do not fit",
    ),
}


def _everything_here(folder: Path) -> tuple[dict[str, int], set[str]]:
    """Rows by table, and files of the storage."""
    with connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names(cursor) if not name.startswith("django_")]
        cursor.execute(" UNION ALL ".join(f"SELECT '{name}', count(*) FROM \"{name}\" {MARK}" for name in tables))
        counts = dict(cursor.fetchall())
    return counts, {str(path) for path in folder.rglob("*") if path.is_file()}


def test_spoiled_archives_are_refused_with_words_and_leave_nothing(
    world: World, archive: bytes, tmp_path: Path
) -> None:
    before, said = _everything_here(tmp_path), {}
    for name, (spoil, words) in SPOILED.items():
        try:
            bring(spoil(archive), world.charlie)
            said[name] = "it was taken"
        except ImportRefused as refusal:
            if not re.search(words, str(refusal)):
                said[name] = str(refusal)
        if _everything_here(tmp_path) != before:
            said[name] = "something was left behind"
            break
    assert said == {}


def test_limits_of_the_page(world: World, archive: bytes) -> None:
    for limits, words in (
        (Limits(packed=1000, unpacked=10**9, rows=10**6, directory=10**6), "manage.py import_organization"),
        (Limits(packed=10**9, unpacked=1000, rows=10**6, directory=10**6), "unpacks to"),
        (Limits(packed=10**9, unpacked=10**9, rows=5, directory=10**6), "more than 5 rows"),
        (Limits(packed=10**9, unpacked=10**9, rows=10**6, directory=1000), "more entries"),
    ):
        with pytest.raises(ImportRefused, match=words):
            bring(archive, world.charlie, limits=limits)
    assert bring(archive, world.charlie, limits=PAGE).rows["bots.Bot"] == 1


def test_a_person_owns_no_more_organizations_by_importing(
    world: World, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.organizations.MOST_OWNED", 1)
    with pytest.raises(ImportRefused, match="You own 1 organizations"):
        bring(archive, world.charlie)
    assert Organization.objects.count() == 2


def test_a_fault_half_way_leaves_no_file(
    world: World, archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _everything_here(tmp_path)

    def fault() -> None:
        assert _everything_here(tmp_path)[1] > before[1]
        raise OSError("The disk is full.")

    monkeypatch.setattr(imports, "_check_constraints", fault)
    with pytest.raises(OSError, match="full"):
        bring(archive, world.charlie)
    assert _everything_here(tmp_path) == before


def test_the_list_of_entries_is_bounded_before_it_is_read(world: World) -> None:
    """A zip's list of entries is one piece that zipfile reads at once: a claim of gigabytes is refused unread."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        for number in range(2000):
            opened.writestr(f"{'x' * 100}{number}", b"")
    asked: list[int] = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size or 0)
            return super().read(size)

    limits = Limits(packed=10**9, unpacked=10**9, rows=10**6, directory=100_000)
    with pytest.raises(ImportRefused, match="more entries"):
        import_archive.IncomingArchive(Watched(out.getvalue()), limits)
    assert max(asked) <= 100_001
