"""Reading a file row by row, and the preview that reads it once before anything is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
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
from training.imports.detect import detect_format
from training.imports.registry import FORMATS
from training.imports.rows import RowReader
from training.imports.source import TextSource, read_head

DEFAULT_LIMITS = Limits()
PROBLEMS_SHOWN = 50
SAMPLE_ROWS = 10


@dataclass(frozen=True)
class Preview:
    """What an import of this file would do. `problems` are the first 50 of `problem_count`, `sample` the first 10 rows
    kept.

    `dropped` maps each reason to its number of rows; `columns` are those in use, `columns_found` those that can be
    chosen.
    """

    format: str
    columns: Columns
    columns_found: tuple[str, ...]
    kept: int
    dropped: dict[str, int]
    problems: tuple[Problem, ...]
    problem_count: int
    sample: tuple[ImportedRow, ...]
    has_scores: bool

    @property
    def ok(self) -> bool:
        """Whether the file can be imported as it is. With problems the person must ask for the good rows only."""
        return self.problem_count == 0 and self.kept > 0

    @property
    def importable(self) -> bool:
        """Whether the good rows alone would make a dataset."""
        return self.kept > 0


def read(
    stream: BinaryIO, format: str, columns: Columns | None = None, limits: Limits = DEFAULT_LIMITS
) -> Iterator[ImportedRow | Problem]:
    """Yield the file's good rows and its problems, in order, in bounded memory; what is dropped is left out.

    `format` is a name in `FORMATS` (see `detect_format`); `columns` None guesses. Raises ImportRefused, while
    iterating, where reading cannot go on: a cap is exceeded, or no column is the text.
    """
    table = _open(TextSource(stream, limits), format, columns, limits)
    for outcome in _outcomes(table, limits):
        if not isinstance(outcome, Dropped):
            yield outcome


def preview(
    stream: BinaryIO, filename: str, columns: Columns | None = None, limits: Limits = DEFAULT_LIMITS
) -> Preview:
    """Read the whole file once, from where the stream stands, and say what an import would keep, drop and refuse.

    Raises ImportRefused for a file of which nothing can be imported; its `columns_found` lets the person choose.
    """
    head = read_head(stream)
    format = detect_format(filename, head)
    table = _open(TextSource(stream, limits, head), format, columns, limits)
    dropped: Counter[str] = Counter()
    problems: list[Problem] = []
    sample: list[ImportedRow] = []
    kept = problem_count = 0
    has_scores = False
    for outcome in _outcomes(table, limits):
        if isinstance(outcome, ImportedRow):
            kept += 1
            has_scores = has_scores or outcome.score is not None
            if len(sample) < SAMPLE_ROWS:
                sample.append(outcome)
        elif isinstance(outcome, Dropped):
            dropped[outcome.reason] += 1
        else:
            problem_count += 1
            if len(problems) < PROBLEMS_SHOWN:
                problems.append(outcome)
    return Preview(
        format=format,
        columns=table.columns,
        columns_found=table.columns_found,
        kept=kept,
        dropped=dict(dropped),
        problems=tuple(problems),
        problem_count=problem_count,
        sample=tuple(sample),
        has_scores=has_scores,
    )


def _open(source: TextSource, format: str, columns: Columns | None, limits: Limits) -> Table:
    if format not in FORMATS:
        raise ImportRefused(f"There is no format called “{format}”. Formats: {', '.join(FORMATS)}.")
    return FORMATS[format].load()(source, columns, limits)


def _outcomes(table: Table, limits: Limits) -> Iterator[ImportedRow | Dropped | Problem]:
    """Every record's fate. Raises ImportRefused where there are too many."""
    reader = RowReader(limits)
    for count, record in enumerate(located(table.records), start=1):
        if count > limits.max_rows:
            raise ImportRefused(f"the file has more than {limits.max_rows:,} rows. Split it.", row=record.row)
        yield reader.read(record) if isinstance(record, RawRow) else record
