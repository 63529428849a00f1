"""CSV: comma, semicolon, tab or bar; quotes, line breaks in cells, with a header or as one column without."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from training.imports.columns import check_choice, guess_columns, known_names, refuse_without_text
from training.imports.contract import (
    NO_TEXT,
    Columns,
    Dropped,
    ImportRefused,
    Limits,
    Problem,
    RawRow,
    Role,
    Table,
    not_utf8,
)
from training.imports.source import LINE_END, TextSource

# Delimiter, and whether quotation marks are just characters (tab-separated files are often written so).
DIALECTS = ((",", False), (";", False), ("\t", False), ("|", False), ("\t", True))
SNIFFED_ROWS = 200

Record = tuple[int, list[str]]


def open_csv(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Rows under their header. Raises ImportRefused for a broken header, and where no column is the text."""
    source = TextSource(stream, limits)
    delimiter, literal_quotes = sniff(source.peek())
    records = _records(source, delimiter, literal_quotes, limits)
    first = next(records, None)
    if first is None:
        raise ImportRefused("The file is empty. Choose a file with at least one post.")
    if isinstance(first, Problem):
        raise ImportRefused(first.reason, row=first.row)
    cells = [cell.strip() for cell in first[1]]
    if len(cells) > limits.max_columns:
        raise ImportRefused(f"the file has {len(cells):,} columns; at most {limits.max_columns} can be read.", row=1)
    positions = tuple(f"#{number}" for number in range(1, len(cells) + 1))
    used, headed = _choose(columns, cells, positions)
    names = cells if headed else positions
    places = {role: names.index(name) for role, name in used.chosen().items()}
    rest = records if headed else chain([first], records)
    return Table(columns=used, columns_found=tuple(names), records=_rows(rest, len(names), places))


def sniff(head: str) -> tuple[str, bool]:
    """The dialect under which the first row has most usual column names, then the rows agree best, then there are most
    columns.

    Ties go to the earlier of `DIALECTS`, so that a single column is read as comma-separated with quotes.
    """
    lines = _lines(head)
    cut_off = not head.endswith(("\n", "\r"))

    def merit(dialect: tuple[str, bool]) -> tuple[int, float, int]:
        rows = _parse(lines, *dialect)
        if cut_off and len(rows) > 2:
            rows = rows[:-1]
        header = rows[0] if rows else None
        if not header:
            return 0, 0.0, 0
        agreeing = sum(row is not None and len(row) == len(header) for row in rows) / len(rows)
        columns = len(header) if agreeing > 0.5 else 1
        return known_names([cell.strip() for cell in header]), agreeing, columns

    return max(DIALECTS, key=merit)


def _choose(columns: Columns | None, cells: list[str], positions: tuple[str, ...]) -> tuple[Columns, bool]:
    """The columns to use, and whether the first row is a header."""
    if columns is not None and columns.text is not None:
        headed = not (columns.text.startswith("#") and columns.text not in cells)
        check_choice(columns, cells if headed else positions)
        return columns, headed
    guess = guess_columns(cells)
    if guess.text is not None:
        check_choice(guess, cells)
        return guess, True
    if len(cells) == 1:
        return Columns(text=positions[0]), False
    advice = f" If the first row is not a header, choose by position, from {positions[0]} to {positions[-1]}."
    raise refuse_without_text(cells, advice)


def _rows(
    records: Iterator[Record | Problem], width: int, places: dict[Role, int]
) -> Iterator[RawRow | Dropped | Problem]:
    for record in records:
        if isinstance(record, Problem):
            yield record
            continue
        row, cells = record
        if not cells:
            yield Dropped(row, NO_TEXT)
        elif len(cells) != width:
            yield Problem(
                row, f"has {len(cells)} columns where the first row has {width}; are quotation marks missing?"
            )
        else:
            yield RawRow(row, {role: cells[place] for role, place in places.items()})


class _Feed:
    """Lines for one record after another: what the csv module takes is counted, so that none outgrows memory."""

    def __init__(self, source: TextSource, limits: Limits) -> None:
        self._source = source
        self._lines = source.lines()
        self._longest = limits.max_line
        self.begin()

    def begin(self) -> None:
        self._length = 0
        self.bad_byte: int | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._length += len(line)
        if self._length > self._longest:
            raise ImportRefused(f"the row is longer than {self._longest:,} characters. Is a quotation mark left open?")
        offset = self._source.bad_byte(line)
        self.bad_byte = offset if self.bad_byte is None else self.bad_byte
        return line


def _records(source: TextSource, delimiter: str, literal_quotes: bool, limits: Limits) -> Iterator[Record | Problem]:
    feed = _Feed(source, limits)
    reader = _reader(feed, delimiter, literal_quotes)
    row = 0
    while True:
        row += 1
        feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Problem(row, _plain(str(error), row))
            continue
        yield (row, cells) if feed.bad_byte is None else Problem(row, not_utf8(feed.bad_byte))


def _reader(lines: Iterator[str], delimiter: str, literal_quotes: bool) -> Iterator[list[str]]:
    if literal_quotes:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)


def _parse(lines: list[str], delimiter: str, literal_quotes: bool) -> list[list[str] | None]:
    """The first rows under a dialect, blank ones left out; None for a row that does not fit it."""
    reader = _reader(iter(lines), delimiter, literal_quotes)
    rows: list[list[str] | None] = []
    while len(rows) < SNIFFED_ROWS:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error:
            rows.append(None)
            continue
        if row:
            rows.append(row)
    return rows


def _lines(head: str) -> list[str]:
    ends = [match.end() for match in LINE_END.finditer(head)]
    return [head[start:end] for start, end in zip([0, *ends], [*ends, len(head)], strict=True) if start < end]


def _plain(message: str, row: int) -> str:
    """The csv module's message in plain words. Raises ImportRefused where later rows cannot be told apart."""
    if "unexpected end" in message:
        return (
            "a quotation mark opens here and is never closed, so that nothing after it can be read; close or remove it"
        )
    if "field limit" in message:
        raise ImportRefused(
            "a cell is longer than the 131,072 characters that can be read. Is a quotation mark left open?", row=row
        )
    if "expected after" in message:
        return 'text follows a closing quotation mark; inside a cell, quotation marks must be doubled ("")'
    return f"not valid CSV: {message}"
