"""The archive of an organization: a zip with its rows as JSON Lines, its files, and a manifest with the SHA-256 of
every entry. Nothing of it is ever whole in memory: rows are read page by page, files copied chunk by chunk.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection, models, transaction

from accounts import clock
from accounts.exports import CHUNK, FORMAT, MANIFEST, columns_of, leaving, line_of, tenant_models, treatment_of
from accounts.models import Membership, Organization
from accounts.tenancy import TenantModel, no_tenant, tenant

PAGE = 500
"""Rows read at once."""


def write_archive(target: IO[bytes], organization_id: UUID, keep_going: Callable[[], None]) -> dict[str, int]:
    """Write everything that an organization has into `target`. `keep_going` is called after every chunk of a file, and
    may raise. Returns the number of rows by model.

    The rows are those of one moment. Files are never changed once they are stored, so they are copied after the
    transaction; one that was removed meanwhile is named in the manifest.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, TemporaryFile("w+", encoding="utf-8") as files:
        writer = _Writer(archive)
        with _one_moment(), tenant(organization_id):
            organization = Organization.objects.get(pk=organization_id)
            members = Membership.objects.order_by("pk").values("role", email=models.F("user__email"))
            manifest = _facts(organization) | {"members": list(members)}
            manifest["rows"] = {model._meta.label: _write_rows(writer, model, files) for model in leaving()}
        files.seek(0)
        manifest["missing_files"] = _write_files(writer, files, keep_going)
        manifest["sha256"] = writer.hashes
        archive.writestr(MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1))
    rows: dict[str, int] = manifest["rows"]
    return rows


@contextmanager
def _one_moment() -> Iterator[None]:
    """A transaction that sees the rows as they are now, whatever is written meanwhile. No tenant is entered before its
    isolation is set: that must be the transaction's first statement.
    """
    with no_tenant(), transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _facts(organization: Organization) -> dict[str, Any]:
    with (settings.BASE_DIR / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    return {
        "format": FORMAT,
        "kilroy": version,
        "made_at": clock.now().isoformat(),
        "organization": {
            "id": str(organization.pk),
            "name": organization.name,
            "slug": organization.slug,
            "demands_mfa": organization.demands_mfa,
        },
        "left_out": {model._meta.label: why for model in tenant_models() if (why := treatment_of(model).stays)},
    }


class _Writer:
    """Entries of the zip, with the SHA-256 of each."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.hashes: dict[str, str] = {}

    @contextmanager
    def entry(self, name: str, compression: int) -> Iterator[Callable[[bytes], None]]:
        info = zipfile.ZipInfo(name, clock.now().timetuple()[:6])
        info.compress_type = compression
        digest = hashlib.sha256()
        with self._archive.open(info, "w", force_zip64=True) as out:

            def write(data: bytes) -> None:
                digest.update(data)
                out.write(data)

            yield write
        self.hashes[name] = digest.hexdigest()


def rows_entry(label: str) -> str:
    return f"rows/{label}.jsonl"


def _write_rows(writer: _Writer, model: type[TenantModel], files: IO[str]) -> int:
    """Write the active organization's rows of a model, and note their files; returns how many rows there are."""
    count, columns = 0, columns_of(model)
    stored = [column.attname for column in columns if isinstance(column, models.FileField)]
    folder = treatment_of(model).folder
    with writer.entry(rows_entry(model._meta.label), zipfile.ZIP_DEFLATED) as write:
        for row in _pages(model, [column.attname for column in columns]):
            found = [(name, row[name]) for name in stored if row[name]]
            found += folder.listing(model(**row)) if folder else ()
            for name, where in found:
                files.write(json.dumps([f"files/{model._meta.label}/{row['id']}/{name}", where]) + "\n")
            # Where a file lies is a matter of one installation; its ending says how it is to be read.
            write(line_of(row | {name: _ending(row[name]) for name in stored}))
            count += 1
    return count


def _pages(model: type[TenantModel], names: list[str]) -> Iterator[dict[str, Any]]:
    last = None
    while True:
        found = model.objects.order_by("pk") if last is None else model.objects.order_by("pk").filter(pk__gt=last)
        rows = list(found.values(*names)[:PAGE])
        yield from rows
        if len(rows) < PAGE:
            return
        last = rows[-1]["id"]


def _ending(name: str) -> str:
    ending = re.search(r"\.[A-Za-z0-9]{1,10}$", name)
    return f"file{ending[0] if ending else ''}" if name else ""


def _write_files(writer: _Writer, files: IO[str], keep_going: Callable[[], None]) -> list[str]:
    """Copy the noted files; returns the entries whose file is gone. They are stored as they are: weights and images do
    not grow smaller.
    """
    missing = []
    for line in files:
        name, stored = json.loads(line)
        try:
            source = default_storage.open(stored, "rb")
        except FileNotFoundError:
            missing.append(name)
            continue
        with source, writer.entry(name, zipfile.ZIP_STORED) as write:
            while data := source.read(CHUNK):
                write(data)
                keep_going()
    return missing


def listed(folder: str) -> list[tuple[str, str]]:
    """The files right below a folder of the storage, as (name, name in the storage); none when there is no folder."""
    try:
        names = default_storage.listdir(folder)[1]
    except FileNotFoundError:
        return []
    return [(name, f"{folder}/{name}") for name in sorted(names)]
