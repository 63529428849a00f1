"""An exported organization becomes a new one here: all of it, or nothing.

Ids are always given anew, so nothing in an archive can name a row of another organization; the database's own
constraints have the last word. What the archive's installation may still be doing (posts on their way, trainings) does
not go on here: see each room's `portability.py`.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.validators import validate_slug
from django.db import DatabaseError, connection, models, transaction

from accounts import audit
from accounts.exports import ImportRefused, Passage, arriving, columns_of, treatment_of
from accounts.import_archive import COMMAND, IncomingArchive, Limits
from accounts.import_values import value_of
from accounts.models import Organization, User
from accounts.organizations import begin_organization
from accounts.tenancy import TenantModel, active, tenant

log = logging.getLogger(__name__)

BATCH = 500


@dataclass(frozen=True)
class Arrived:
    """What an import made. `left_out`: models whose rows the archive has for reading only. `members`: who belonged to
    it, as (e-mail, role), besides whoever imported it: to be invited.
    """

    organization: Organization
    rows: dict[str, int]
    left_out: list[str]
    members: list[tuple[str, str]]


def import_organization(file: IO[bytes], owner: User, *, slug: str = "", limits: Limits = COMMAND) -> Arrived:
    """Make a new organization of an exported one, with `owner` as its only member. Raises ImportRefused, after which
    nothing is left: no row, no file.
    """
    archive = IncomingArchive(file, limits)
    passage = Passage()
    counts = archive.check(passage)
    importing = _Import(archive, passage)
    try:
        with transaction.atomic():
            organization = _begin(archive, owner, slug)
            with tenant(organization.pk):
                rows = importing.everything()
                after = {"from": archive.manifest["organization"]["id"], "rows": rows}
                audit.record("organization.import", organization, after=after)
    except BaseException as error:
        importing.remove_files()
        if (words := _in_words(error)) is not None:
            raise ImportRefused(words) from error
        raise
    members = [(str(each["email"]), str(each["role"])) for each in archive.manifest["members"]]
    strangers = [member for member in members if member[0].lower() != owner.email.lower()]
    return Arrived(organization, rows, archive.not_imported(counts), strangers)


def _begin(archive: IncomingArchive, owner: User, slug: str) -> Organization:
    told = archive.manifest["organization"]
    organization = begin_organization(told["name"], owner)
    organization.demands_mfa = told["demands_mfa"]
    if slug:
        validate_slug(slug)
        if len(slug) > 60 or Organization.objects.filter(slug=slug).exists():
            raise ImportRefused(f"“{slug}” is taken or too long: choose another slug.")
        organization.slug = slug
    organization.save(update_fields=["slug", "demands_mfa"])
    return organization


def _in_words(error: BaseException) -> str | None:
    """What to tell a person, where the archive is at fault."""
    if isinstance(error, ValidationError):
        return " ".join(error.messages)
    if isinstance(error, DatabaseError | UnicodeError):
        name = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None)
        log.info("an import was refused by the database: %s %s", type(error).__name__, name)
        rule = f" (the rule {name})" if name else ""
        return f"The archive's rows do not fit together{rule}: it was changed after it was exported."
    return None


class _Import:
    """One archive on its way into the active organization."""

    def __init__(self, archive: IncomingArchive, passage: Passage) -> None:
        self._archive, self._passage = archive, passage
        self._saved: list[str] = []

    def everything(self) -> dict[str, int]:
        """Store every row and file; returns the number of rows by model."""
        models_ = arriving()
        rows = {model._meta.label: self._rows(model) for model in models_}
        if self._archive.files:
            label, pk = next(iter(self._archive.files))
            raise ImportRefused(f"The archive has files of {label} {pk}, which it does not have.")
        _check_constraints()
        for model in models_:
            if (finish := treatment_of(model).finish) is not None:
                finish()
        _check_constraints()
        return rows

    def remove_files(self) -> None:
        while self._saved:
            default_storage.delete(self._saved.pop())

    def _rows(self, model: type[TenantModel]) -> int:
        count, told = 0, self._archive.rows(model._meta.label)
        while batch := list(islice(self._built(model, told), BATCH)):
            self._insert(model, batch)
            count += len(batch)
        return count

    def _built(self, model: type[TenantModel], told: Iterator[dict[str, Any]]) -> Iterator[tuple[Any, Any]]:
        """Rows ready to be stored, each with its old id."""
        for values in told:
            old = values["id"]
            row = self._row(model, values)
            row.organization_id = active()
            arrive = treatment_of(model).arrive
            if arrive is not None:
                arrive(row, self._passage)
            self._take_files(row, old)
            yield row, old

    def _row(self, model: type[TenantModel], values: dict[str, Any]) -> Any:
        numbered = not isinstance(model._meta.pk, models.UUIDField)
        given = {}
        for column in columns_of(model):
            if column.attname not in values or (column.primary_key and numbered):
                continue  # an older version's export lacks what was added since: the model's default stands
            given[column.attname] = value_of(column, values[column.attname], self._passage)
        return model(**given)

    def _insert(self, model: type[TenantModel], batch: list[tuple[Any, Any]]) -> None:
        """Store rows as they are: their times of creation are not now."""
        rows, key = [row for row, _ in batch], model._meta.pk
        columns = list(model._meta.local_concrete_fields)
        if isinstance(key, models.UUIDField):
            model.objects._insert(rows, fields=columns, using="default", raw=True)
            return
        columns.remove(key)
        stored = model.objects._insert(rows, fields=columns, returning_fields=[key], using="default", raw=True)
        numbers = self._passage.serials.setdefault(model._meta.label, {})
        numbers.update({old: new for (_, old), (new,) in zip(batch, stored, strict=True)})

    def _take_files(self, row: Any, old: Any) -> None:
        label, treatment = row._meta.label, treatment_of(type(row))
        entries = self._archive.files.pop((label, str(old)), {})
        fields = {column.name: column for column in columns_of(type(row)) if isinstance(column, models.FileField)}
        size = 0
        for name, info in entries.items():
            if name not in fields and treatment.folder is None:
                raise ImportRefused(f"The archive has a file “{name}” of {label}, which has none of that name.")
            if treatment.check_file is not None:
                with self._archive.open(info) as file:
                    treatment.check_file(row, name, file, self._archive.sha256(info))
            size += info.file_size
            if name in fields:
                ending = os.path.splitext(getattr(row, name).name)[1]
                wanted = fields[name].generate_filename(row, f"{row.pk}{ending}")
                setattr(row, name, self._save(wanted, info))
            else:
                assert treatment.folder is not None
                self._save(treatment.folder.place(row, name), info)
        for name in set(fields) - set(entries):
            # A file that was missing is missing here too. A name of the archive's choosing could be somebody else's.
            setattr(row, name, f"missing/{uuid.uuid4()}" if getattr(row, name) else "")
        if (fields or treatment.folder) and hasattr(row, "size"):
            row.size = size

    def _save(self, wanted: str, info: Any) -> str:
        with self._archive.open(info) as file:
            name = default_storage.save(wanted, File(file))
        self._saved.append(name)
        return name


def _check_constraints() -> None:
    """Foreign keys are otherwise looked at when the transaction commits, where nobody could put it into words."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
