"""Plain text: every line is a post."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from training.imports.contract import Columns, Dropped, Limits, Problem, RawRow, Table, not_utf8
from training.imports.source import TextSource


def open_text(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Lines as records; a chosen column has no meaning here and is ignored."""
    return Table(columns=Columns(), columns_found=(), records=_records(TextSource(stream, limits)))


def _records(source: TextSource) -> Iterator[RawRow | Dropped | Problem]:
    for row, line in enumerate(source.lines(), start=1):
        offset = source.bad_byte(line)
        yield RawRow(row, {"text": line}) if offset is None else Problem(row, not_utf8(offset))
