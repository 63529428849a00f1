"""Past posts coming in: uploaded, previewed, and imported when a person says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any, BinaryIO, cast
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.db.models import F

from accounts import audit, quotas
from accounts.doorbell import ring
from accounts.quotas import QuotaExceeded
from accounts.tenancy import claim_for_tenant
from bots import live
from bots.models import Bot
from training.imports import (
    DEFAULT_FILTERS,
    FILTERS,
    Columns,
    FilterReport,
    ImportedRow,
    ImportRefused,
    Preview,
    Problem,
    checked_filters,
    preview,
    read,
)
from training.models import Dataset, Example, Run

log = logging.getLogger(__name__)

BATCH = 2000
UPLOADED = ("name", "filename", "size", "source", "licence", "may_learn")
"""What the audit log is told of a new dataset."""


def upload_dataset(
    bot: Bot, file: UploadedFile[Any], *, name: str, source: str, licence: str, may_learn: bool
) -> Dataset:
    """Keep an uploaded file and look through it: the preview says what an import would keep, drop and refuse.

    A file of which nothing can be imported becomes a refused dataset with the reason. Raises ValidationError for
    missing answers, QuotaExceeded for a file that the organization's storage has no room for.
    """
    quotas.check("stored_bytes", file.size or 0)
    dataset = Dataset(
        bot=bot, name=name, source=source, licence=licence, may_learn=may_learn, filename=(file.name or "upload")[:200]
    )
    dataset.full_clean(exclude=["organization", "file"], validate_constraints=False)
    dataset.size = file.size or 0
    dataset.file.save(dataset.filename, file, save=False)
    try:
        _book_upload(dataset)
    except QuotaExceeded:
        dataset.file.delete(save=False)
        raise
    return look_through(dataset)


@transaction.atomic
def _book_upload(dataset: Dataset) -> None:
    quotas.demand("stored_bytes", dataset.size)
    dataset.save()
    audit.record(
        "dataset.upload",
        dataset,
        after={name: getattr(dataset, name) for name in UPLOADED},
    )


@transaction.atomic
def look_through(
    dataset: Dataset, columns: dict[str, str | None] | None = None, filters: Mapping[str, Any] | None = None
) -> Dataset:
    """Preview the beginning of the dataset's file, with the columns and the filters that the person chose; None leaves
    those of before. Raises ValidationError for an unknown part or filter, and once the dataset has been imported.
    """
    dataset = Dataset.locked(dataset.pk)
    if dataset.state not in (Dataset.State.UPLOADED, Dataset.State.REFUSED):
        raise ValidationError(
            f"This dataset is “{dataset.get_state_display()}”: upload the file again to read it with other columns."
        )
    chosen = chosen_filters(dataset) if filters is None else _checked(filters)
    wanted = _columns(dataset.columns if columns is None else columns)
    before = {"columns": dataset.columns, "filters": chosen_filters(dataset), "state": dataset.state}
    try:
        with dataset.file.open("rb") as stream:
            found = preview(_binary(stream), dataset.filename, wanted, chosen=chosen)
    except ImportRefused as refusal:
        dataset.state, dataset.error = Dataset.State.REFUSED, str(refusal)[:500]
        dataset.preview = {"columns_found": list(refusal.columns_found), "chosen": chosen}
    else:
        dataset.state, dataset.error = Dataset.State.UPLOADED, ""
        dataset.format, dataset.columns = found.format, asdict(found.columns)
        dataset.preview = {
            "columns_found": list(found.columns_found),
            "kept": found.kept,
            "dropped": found.dropped,
            "dropped_rows": {reason: [row.row for row in rows] for reason, rows in found.dropped_rows.items()},
            "problems": [asdict(problem) for problem in found.problems],
            "problem_count": found.problem_count,
            "has_scores": found.has_scores,
            "ok": found.ok,
            "sample": [_sample(row) for row in found.sample],
            "looked_at": found.looked_at,
            "complete": found.complete,
            "chosen": chosen,
            "filters": [_filter_report(report) for report in found.filters],
        }
        if not found.importable:
            dataset.state, dataset.error = Dataset.State.REFUSED, _nothing_left(found)
    dataset.save()
    if columns is not None or filters is not None:
        after = {"columns": dataset.columns, "filters": chosen, "state": dataset.state}
        audit.record("dataset.preview", dataset, before=before, after=after)
    return dataset


def chosen_filters(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """The filters of a dataset with their parameters; before anybody chose, those that are on by themselves."""
    return dict(dataset.preview.get("chosen", {name: dict(given) for name, given in DEFAULT_FILTERS.items()}))


def _checked(filters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    try:
        return checked_filters(filters)
    except ValueError as error:
        raise ValidationError({"filters": str(error)}) from None


def _nothing_left(found: Preview) -> str:
    where = "of this file" if found.complete else f"of the first {found.looked_at:,}"
    by_filters = any(report.dropped for report in found.filters)
    advice = " Choose fewer filters." if by_filters else ""
    return f"Not a single row {where} can be imported.{advice}"


def _filter_report(report: FilterReport) -> dict[str, Any]:
    examples = [{"row": each.row, "text": each.text[:300], "reason": each.detail} for each in report.examples]
    label = FILTERS[report.name].label
    return {"name": report.name, "label": label, "dropped": report.dropped, "examples": examples}


def _binary(file: Any) -> BinaryIO:
    """Django's file objects do what BinaryIO says, without saying so."""
    return cast(BinaryIO, file)


def _columns(columns: dict[str, str | None] | None) -> Columns | None:
    if not columns or not any(columns.values()):
        return None
    try:
        return Columns(**{role: name or None for role, name in columns.items()})
    except TypeError:
        raise ValidationError(
            {"columns": f"Columns can be given for: {', '.join(Columns.__dataclass_fields__)}."}
        ) from None


def _sample(row: ImportedRow) -> dict[str, Any]:
    return {
        "row": row.row,
        "text": row.text[:500],
        "score": row.score,
        "author": row.author,
        "community": row.community,
        "topic": row.topic,
        "context": row.reply_to_text[:500],
        "created_at": row.created_at.isoformat() if row.created_at else None,
    }


@transaction.atomic
def request_import(dataset_id: UUID | str, *, only_good: bool = False) -> Dataset:
    """Start importing a previewed dataset. Raises ValidationError when it has problems and `only_good` was not said."""
    dataset = Dataset.locked(dataset_id)
    if dataset.state != Dataset.State.UPLOADED:
        raise ValidationError(
            f"This dataset is “{dataset.get_state_display()}”: only one that waits for your decision can be imported."
        )
    problems = dataset.preview.get("problem_count", 0)
    if problems and not only_good:
        raise ValidationError(
            f"{problems} rows are broken. Mend the file and upload it again, "
            "or choose to import the good rows only (only_good)."
        )
    dataset.state, dataset.only_good = Dataset.State.IMPORTING, only_good
    dataset.save(update_fields=["state", "only_good"])
    before = {"state": Dataset.State.UPLOADED}
    audit.record("dataset.import", dataset, before=before, after={"state": dataset.state, "only_good": only_good})
    ring("training.tasks.import_dataset", dataset.organization_id, dataset.pk)
    return dataset


@transaction.atomic
def import_dataset(dataset_id: UUID | str) -> Dataset:
    """Turn the file's good rows into examples: all of them or, if anything fails, none. Running twice changes
    nothing.

    A row that turns out broken where nobody asked for the good rows only gives the decision back to the person.
    """
    # A second bell must not wait for a long import under way: it would keep an io worker from publishing.
    free = Dataset.objects.select_for_update(of=("self",), skip_locked=True)
    dataset: Dataset | None = free.filter(pk=dataset_id).first()
    if dataset is None or dataset.state != Dataset.State.IMPORTING:
        unchanged: Dataset = Dataset.objects.get(pk=dataset_id)
        return unchanged
    try:
        with transaction.atomic(), dataset.file.open("rb") as stream:
            columns, chosen = _columns(dataset.columns), chosen_filters(dataset)
            rows = read(_binary(stream), dataset.format, columns, chosen=chosen)
            _check_keys_at_once()
            count = 0
            examples = _examples(dataset, rows)
            while batch := list(islice(examples, BATCH)):
                _copy_in(batch)
                count += len(batch)
            if not count:
                raise ImportRefused("the file has no row that can be imported.")
    except _BrokenRow as broken:
        dataset.state, dataset.error = Dataset.State.UPLOADED, str(broken)[:500]
        dataset.preview |= {"problems": [asdict(broken.problem)], "problem_count": 1, "ok": False}
    except (ImportRefused, OSError) as error:
        dataset.state, dataset.error = Dataset.State.REFUSED, str(error)[:500]
    else:
        dataset.state, dataset.example_count, dataset.error = Dataset.State.READY, count, ""
    dataset.save(update_fields=["state", "error", "example_count", "preview"])
    told = {"state": dataset.state, "examples": dataset.example_count, "error": dataset.error}
    audit.record("dataset.imported", dataset, before={"state": Dataset.State.IMPORTING}, after=told)
    live.tell(dataset.bot_id, {"type": "dataset", "dataset": str(dataset.pk), "state": dataset.state})
    return dataset


def _check_keys_at_once() -> None:
    """Foreign keys are checked as the transaction ends: until then PostgreSQL would remember every row in memory."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _copy_in(examples: list[Example]) -> None:
    """Store examples by COPY, which takes a fraction of INSERT's time; row-level security wants them to come through a
    table beside.
    """
    fields = [field for field in Example._meta.concrete_fields if not field.primary_key]
    columns, table = ", ".join(f'"{field.column}"' for field in fields), Example._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMP TABLE IF NOT EXISTS incoming ON COMMIT DROP AS "  # nosec B608 # names of the model
            f'SELECT {columns} FROM "{table}" WITH NO DATA'
        )
        with cursor.copy(f"COPY incoming ({columns}) FROM STDIN") as copy:
            for example in examples:
                claim_for_tenant(example)
                copy.write_row([getattr(example, field.attname) for field in fields])
        insert = f'INSERT INTO "{table}" ({columns}) SELECT {columns} FROM incoming'  # nosec B608 # names of the model
        cursor.execute(insert)
        cursor.execute("TRUNCATE incoming")


class _BrokenRow(Exception):
    """A row that the preview did not get to is broken, and nobody asked for the good rows only."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(
            f"Row {problem.row} cannot be read: {problem.reason}. Nothing was imported: mend the file and upload it "
            "again, or import the good rows only."
        )
        self.problem = problem


def _examples(dataset: Dataset, rows: Iterator[ImportedRow | Problem]) -> Iterator[Example]:
    """Raises _BrokenRow."""
    position = 0
    for row in rows:
        if isinstance(row, Problem):
            if dataset.only_good:
                continue
            raise _BrokenRow(row)
        yield Example(
            organization_id=dataset.organization_id,
            dataset=dataset,
            position=position,
            text=row.text,
            score=row.score,
            author=row.author,
            community=row.community,
            topic=row.topic,
            context=row.reply_to_text,
            posted_at=row.created_at,
            source=dataset.source,
            licence=dataset.licence,
            may_learn=dataset.may_learn,
        )
        position += 1


@transaction.atomic
def delete_example(example_id: int) -> None:
    """Delete one past post. Raises ValidationError while a run that learns from its dataset is under way: a training
    must find the same posts in every slice.
    """
    example = Example.objects.select_related("dataset").get(pk=example_id)
    dataset = Dataset.locked(example.dataset_id)
    if dataset.uses.filter(run__state__in=Run.LIVING).exists():
        raise ValidationError("A training learns from this dataset: stop it, or wait until it is over.")
    before = {"dataset": str(dataset.pk), "position": example.position}
    if not Example.objects.filter(pk=example.pk).delete()[0]:  # somebody was faster
        return
    dataset.example_count = F("example_count") - 1
    dataset.save(update_fields=["example_count"])
    audit.record("example.delete", example, before=before)


@transaction.atomic
def delete_dataset(dataset_id: UUID | str) -> None:
    """Delete a dataset and its file. Raises ValidationError while a run learned or learns from it, naming how many."""
    dataset = Dataset.locked(dataset_id)
    if runs := dataset.uses.count():
        raise ValidationError(f"{runs} training run(s) learned from this dataset: it stays as their record.")
    facts = {name: getattr(dataset, name) for name in (*UPLOADED, "state", "example_count")}
    audit.record("dataset.delete", dataset, before=facts)
    file = dataset.file
    dataset.delete()
    transaction.on_commit(lambda: file.delete(save=False), robust=True)
