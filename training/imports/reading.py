"""Reading a file row by row, and the preview that looks at its beginning before anything is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from training.imports.contract import (
    Columns,
    Dropped,
    ImportedRow,
    ImportRefused,
    Limits,
    Problem,
    RawRow,
    Table,
    located,
)
from training.imports.detect import detect
from training.imports.filters import DEFAULT_FILTERS, Check, Chosen, checks_of, in_order
from training.imports.registry import FORMATS
from training.imports.rows import RowReader

DEFAULT_LIMITS = Limits()
PROBLEMS_SHOWN = 50
SAMPLE_ROWS = 10
EXAMPLES_SHOWN = 3
ROWS_LOOKED_AT = 20_000
"""A preview is made while somebody waits: it looks at no more than this."""


@dataclass(frozen=True)
class FilterReport:
    """What one filter dropped: how many rows, and the first three with the reason."""

    name: str
    dropped: int
    examples: tuple[Dropped, ...]


@dataclass(frozen=True)
class Preview:
    """What an import of this file would do, as far as it was looked at: `looked_at` rows, and whether that was
    `complete`. `problems` are the first 50 of `problem_count`, `sample` the first 10 rows kept.

    `dropped` maps each reason to its number of rows, `dropped_rows` to the first three; filters apart, which stand in
    `filters`, each row counted to the first that drops it; `columns` are those in use, `columns_found` those that can
    be chosen.
    """

    format: str
    columns: Columns
    columns_found: tuple[str, ...]
    kept: int
    dropped: dict[str, int]
    dropped_rows: dict[str, tuple[Dropped, ...]]
    problems: tuple[Problem, ...]
    problem_count: int
    sample: tuple[ImportedRow, ...]
    has_scores: bool
    looked_at: int
    complete: bool
    filters: tuple[FilterReport, ...]

    @property
    def ok(self) -> bool:
        """Whether the file can be imported as it is. With problems the person must ask for the good rows only."""
        return self.problem_count == 0 and self.kept > 0

    @property
    def importable(self) -> bool:
        """Whether the good rows alone would make a dataset."""
        return self.kept > 0


def read(
    stream: BinaryIO,
    format: str,
    columns: Columns | None = None,
    limits: Limits = DEFAULT_LIMITS,
    chosen: Chosen = DEFAULT_FILTERS,
) -> Iterator[ImportedRow | Problem]:
    """Yield the file's good rows and its problems, in order, in bounded memory; what is dropped is left out.

    `format` is a name in `FORMATS` (see `detect_format`); `columns` None guesses. Raises ImportRefused, while
    iterating, where reading cannot go on: a cap is exceeded, or no column is the text.
    """
    for outcome in _outcomes(_open(stream, format, columns, limits), limits, checks_of(chosen)):
        if not isinstance(outcome, Dropped):
            yield outcome


def preview(
    stream: BinaryIO,
    filename: str,
    columns: Columns | None = None,
    limits: Limits = DEFAULT_LIMITS,
    chosen: Chosen = DEFAULT_FILTERS,
    rows: int = ROWS_LOOKED_AT,
) -> Preview:
    """Look at the first rows of a file, from where the stream stands, and say what an import would keep, drop and
    refuse.

    Raises ImportRefused for a file of which nothing can be imported; its `columns_found` lets the person choose.
    """
    format, whole = detect(stream, filename)
    table = _open(whole, format, columns, limits)
    tally = _Tally(chosen)
    outcomes = _outcomes(table, limits, checks_of(chosen))
    for outcome in islice(outcomes, rows):
        tally.add(outcome)
    complete = tally.looked_at < rows or next(outcomes, None) is None
    return tally.preview(format, table, complete)


class _Tally:
    """What became of the rows of a preview."""

    def __init__(self, chosen: Chosen) -> None:
        self.looked_at = self._kept = self._problem_count = 0
        self._has_scores = False
        self._dropped: dict[str, list[Dropped]] = {}
        self._drop_counts: Counter[str] = Counter()
        self._problems: list[Problem] = []
        self._sample: list[ImportedRow] = []
        self._filtered: dict[str, list[Dropped]] = {name: [] for name in in_order(chosen)}
        self._filter_counts: Counter[str] = Counter()

    def add(self, outcome: ImportedRow | Dropped | Problem) -> None:
        self.looked_at += 1
        if isinstance(outcome, ImportedRow):
            self._kept += 1
            self._has_scores = self._has_scores or outcome.score is not None
            if len(self._sample) < SAMPLE_ROWS:
                self._sample.append(outcome)
        elif isinstance(outcome, Problem):
            self._problem_count += 1
            if len(self._problems) < PROBLEMS_SHOWN:
                self._problems.append(outcome)
        elif outcome.filter:
            self._filter_counts[outcome.filter] += 1
            if len(self._filtered[outcome.filter]) < EXAMPLES_SHOWN:
                self._filtered[outcome.filter].append(outcome)
        else:
            self._drop_counts[outcome.reason] += 1
            if len(rows := self._dropped.setdefault(outcome.reason, [])) < EXAMPLES_SHOWN:
                rows.append(outcome)

    def preview(self, format: str, table: Table, complete: bool) -> Preview:
        return Preview(
            format=format,
            columns=table.columns,
            columns_found=table.columns_found,
            kept=self._kept,
            dropped=dict(self._drop_counts),
            dropped_rows={reason: tuple(rows) for reason, rows in self._dropped.items()},
            problems=tuple(self._problems),
            problem_count=self._problem_count,
            sample=tuple(self._sample),
            has_scores=self._has_scores,
            looked_at=self.looked_at,
            complete=complete,
            filters=tuple(
                FilterReport(name, self._filter_counts[name], tuple(rows)) for name, rows in self._filtered.items()
            ),
        )


def _open(stream: BinaryIO, format: str, columns: Columns | None, limits: Limits) -> Table:
    if format not in FORMATS:
        raise ImportRefused(f"There is no format called “{format}”. Formats: {', '.join(FORMATS)}.")
    return FORMATS[format].load()(stream, columns, limits)


def _outcomes(table: Table, limits: Limits, checks: Mapping[str, Check]) -> Iterator[ImportedRow | Dropped | Problem]:
    """Every record's fate. Raises ImportRefused where there are too many."""
    reader = RowReader(limits)
    for count, record in enumerate(located(table.records), start=1):
        if count > limits.max_rows:
            raise ImportRefused(f"the file has more than {limits.max_rows:,} rows. Split it.", row=record.row)
        outcome = reader.read(record) if isinstance(record, RawRow) else record
        yield _filtered(outcome, checks) if isinstance(outcome, ImportedRow) else outcome


def _filtered(row: ImportedRow, checks: Mapping[str, Check]) -> ImportedRow | Dropped:
    for name, check in checks.items():
        if (detail := check(row)) is not None:
            return Dropped(row.row, name, filter=name, detail=detail, text=row.text)
    return row
