"""Reading an organization's archive without trusting it: everything that it claims is bounded, checked and hashed
before a row is made of it. Nothing is unpacked to the disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import uuid
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, NoReturn, cast

from django.db import models

from accounts import zips
from accounts.export_archive import rows_entry
from accounts.exports import CHUNK, FORMAT, MANIFEST, ImportRefused, Passage, arriving, columns_of, leaving

MOST_RATIO = 100
SPARE_BYTES = 10_000_000
"""So much may come out of any entry, however small it is packed."""
LONGEST_LINE = 16_000_000
LONGEST_MANIFEST = 64_000_000
AGAIN = "Export the organization again, and import that file as it is."
_FILE = re.compile(r"files/([a-z_]{1,40}\.[A-Za-z]{1,60})/([0-9a-f-]{1,36})/([A-Za-z0-9_][A-Za-z0-9._-]{0,99})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Limits:
    """Bytes of the zip and of what comes out of it, rows of all models, and bytes of the zip's own list of entries
    (about 100 for each).
    """

    packed: int
    unpacked: int
    rows: int
    directory: int


COMMAND = Limits(packed=2 * 10**12, unpacked=2 * 10**12, rows=10**8, directory=64_000_000)
PAGE = Limits(packed=50_000_000, unpacked=500_000_000, rows=100_000, directory=4_000_000)
"""For an import that somebody waits for."""


def refuse(what: str) -> NoReturn:
    raise ImportRefused(f"{what} {AGAIN}")


@contextmanager
def faults_refused(where: str = "The archive") -> Iterator[None]:
    """What goes wrong while a zip is read, in words for people."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ImportRefused(f"{where} is damaged or was changed ({error}). {AGAIN}") from error


class IncomingArchive:
    """An archive whose entries are all known, named and sized as an export makes them. Raises ImportRefused.

    `files`: (model's label, row's id) → name → entry.
    """

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        self._limits = limits
        self.models = {model._meta.label: model for model in leaving()}
        self.files: dict[tuple[str, str], dict[str, zipfile.ZipInfo]] = defaultdict(dict)
        size = file.seek(0, io.SEEK_END)
        if size > limits.packed:
            raise ImportRefused(
                f"The file has {size / 1e6:,.0f} MB, and at most {limits.packed / 1e6:,.0f} MB are imported this way. "
                "Ask whoever runs this installation to use manage.py import_organization."
            )
        with faults_refused():
            many = ImportRefused(f"The archive has more entries than can be imported this way. {AGAIN}")
            self._zip = zips.open_zip(file, limits.directory, many)
            self._rows = self._sorted(self._zip.infolist())
            self.manifest = self._read_manifest()
        self._check_manifest()

    def _sorted(self, entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        seen, rows, unpacked = set(), {}, 0
        known = {rows_entry(label): label for label in self.models}
        for info in entries:
            name, unpacked = info.filename, unpacked + info.file_size
            if name in seen:
                refuse(f"The archive has two entries “{name[:100]}”.")
            seen.add(name)
            self._check_entry(info)
            if name in known:
                rows[known[name]] = info
            elif (file := _FILE.fullmatch(name)) and file[1] in self.models:
                self.files[file[1], file[2]][file[3]] = info
            elif name != MANIFEST:
                refuse(f"The archive has an entry “{name[:100]}”, which no export makes.")
        if unpacked > self._limits.unpacked:
            refuse(f"The archive unpacks to {unpacked / 1e6:,.0f} MB, more than can be imported this way.")
        return rows

    @staticmethod
    def _check_entry(info: zipfile.ZipInfo) -> None:
        if stat.S_ISLNK(info.external_attr >> 16) or info.is_dir():
            refuse(f"The archive's entry “{info.filename[:100]}” is no ordinary file.")
        if info.file_size > SPARE_BYTES and info.file_size > MOST_RATIO * info.compress_size:
            refuse(f"The archive's entry “{info.filename[:100]}” unpacks to far more than its own size.")

    def _read_manifest(self) -> dict[str, Any]:
        try:
            info = self._zip.getinfo(MANIFEST)
        except KeyError:
            raise ImportRefused("This is no export of an organization: it has no manifest.json.") from None
        if info.file_size > LONGEST_MANIFEST:
            refuse("The archive's manifest is too long.")
        with self._zip.open(info) as file:
            manifest = json.loads(file.read())
        if not isinstance(manifest, dict):
            refuse("The archive's manifest is not what an export writes.")
        return manifest

    def _check_manifest(self) -> None:
        told = self.manifest
        if told.get("format") != FORMAT:
            raise ImportRefused(
                f"The archive has format {str(told.get('format'))[:20]}, and this installation reads format {FORMAT}. "
                "Use the version of Kilroy that made it."
            )
        hashes, organization, members = told.get("sha256"), told.get("organization"), told.get("members")
        well_formed = (
            isinstance(hashes, dict)
            and all(isinstance(value, str) and _SHA256.fullmatch(value) for value in hashes.values())
            and isinstance(organization, dict)
            and all(isinstance(organization.get(name), str) for name in ("id", "name"))
            and isinstance(organization.get("demands_mfa"), bool)
            and isinstance(members, list)
            and all(isinstance(each, dict) and {"email", "role"} <= set(each) for each in members)
            and isinstance(told.get("rows"), dict)
        )
        if not well_formed:
            refuse("The archive's manifest is not what an export writes.")
        if set(told["sha256"]) != {info.filename for info in self._zip.infolist()} - {MANIFEST}:
            refuse("The archive's manifest does not name the same entries as the archive has.")

    def check(self, passage: Passage) -> dict[str, int]:
        """Read everything once: hashes, lines, columns, ids. Fills `passage.known`; returns the number of rows by
        model.
        """
        counts: dict[str, int] = {}
        for label, model in self.models.items():
            if label in self._rows:
                counts[label] = self._check_rows(label, model, passage)
        told = {label: number for label, number in self.manifest["rows"].items() if number}
        if told != {label: number for label, number in counts.items() if number}:
            refuse("The archive does not have as many rows as its manifest says.")
        for entries in self.files.values():
            for info in entries.values():
                self._check_file(info)
        return counts

    def _check_rows(self, label: str, model: type[models.Model], passage: Passage) -> int:
        columns = {column.attname for column in columns_of(model)}
        mine: set[int] = set()
        count = 0
        for row in self._lines(label, hashlib.sha256()):
            count += 1
            if count > self._limits.rows:
                refuse(f"The archive has more than {self._limits.rows:,} rows of {label}.")
            if unknown := sorted(set(row) - columns):
                raise ImportRefused(
                    f"{label} has a column “{unknown[0][:60]}” in the archive, which this installation does not know. "
                    "Update this installation to the version that made the archive."
                )
            number = _id_of(label, row).int if isinstance(model._meta.pk, models.UUIDField) else _number_of(label, row)
            if number in mine:
                refuse(f"{label} has two rows with the same id in the archive.")
            mine.add(number)
        if isinstance(model._meta.pk, models.UUIDField):
            passage.known |= mine
        return count

    def rows(self, label: str) -> Iterator[dict[str, Any]]:
        """The rows of a model; `check` has looked at them."""
        return self._lines(label, hashlib.sha256()) if label in self._rows else iter(())

    def _lines(self, label: str, digest: Any) -> Iterator[dict[str, Any]]:
        info = self._rows[label]
        with faults_refused(f"The archive's list of {label}"), self._zip.open(info) as packed:
            lines = io.BufferedReader(packed, CHUNK)  # type: ignore[type-var]  # a zip's entry reads into buffers too
            while line := lines.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    refuse(f"{label} has a row that is longer than {LONGEST_LINE // 10**6} MB.")
                digest.update(line)
                yield _object(label, line)
        if digest.hexdigest() != self.manifest["sha256"][info.filename]:
            refuse(f"The archive's rows of {label} are not those that were exported.")

    def _check_file(self, info: zipfile.ZipInfo) -> None:
        digest = hashlib.sha256()
        with faults_refused(f"The archive's “{info.filename}”"), self._zip.open(info) as file:
            while data := file.read(CHUNK):
                digest.update(data)
        if digest.hexdigest() != self.sha256(info):
            refuse(f"The archive's “{info.filename}” is not the file that was exported.")

    def sha256(self, info: zipfile.ZipInfo) -> str:
        return str(self.manifest["sha256"][info.filename])

    def open(self, info: zipfile.ZipInfo) -> BinaryIO:
        """A file of the archive, to be read."""
        return cast(BinaryIO, self._zip.open(info))

    def not_imported(self, counts: dict[str, int]) -> list[str]:
        """The models whose rows are in the archive for reading only."""
        imported = {model._meta.label for model in arriving()}
        return sorted(label for label, number in counts.items() if number and label not in imported)


def _object(label: str, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        refuse(f"{label} has a row that is no JSON in the archive.")
    if not isinstance(row, dict):
        refuse(f"{label} has a row that is no object in the archive.")
    return row


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _id_of(label: str, row: dict[str, Any]) -> uuid.UUID:
    try:
        return uuid.UUID(row["id"])
    except (KeyError, ValueError, AttributeError, TypeError):
        refuse(f"{label} has a row without an id in the archive.")


def _number_of(label: str, row: dict[str, Any]) -> int:
    number = row.get("id")
    if type(number) is not int or not 0 < number < 2**63:
        refuse(f"{label} has a row without an id in the archive.")
    return number
