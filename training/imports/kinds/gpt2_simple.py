"""What gpt-2-simple trains on: texts between `<|startoftext|>` and `<|endoftext|>`, in one plain text file.

(Its CSV files have one column and are read as CSV.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from training.imports.contract import Columns, Dropped, ImportRefused, Limits, Problem, RawRow, Table, not_utf8
from training.imports.source import TextSource

START, END = "<|startoftext|>", "<|endoftext|>"


def open_gpt2_simple(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Texts as records, numbered by their place; a chosen column has no meaning here and is ignored."""
    return Table(columns=Columns(), columns_found=(), records=_records(TextSource(stream, limits), limits))


def _records(source: TextSource, limits: Limits) -> Iterator[RawRow | Dropped | Problem]:
    for row, text in enumerate(_texts(source, limits), start=1):
        offset = source.bad_byte(text)
        if offset is not None:
            yield Problem(row, not_utf8(offset))
        else:
            yield RawRow(row, {"text": text.strip().removeprefix(START).strip()})


def _texts(source: TextSource, limits: Limits) -> Iterator[str]:
    buffer = ""
    for chunk in source.chunks():
        *whole, buffer = (buffer + chunk).split(END)
        yield from whole
        if len(buffer) > limits.max_line:
            raise ImportRefused(f"a text is longer than {limits.max_line:,} characters. Is an {END} missing?")
    if buffer.strip():
        yield buffer
