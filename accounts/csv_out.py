"""Rows as CSV that a spreadsheet shows and never computes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

COMPUTED = re.compile(r"'*\s*[=+\-@\t\r]")
"""How a cell begins that a spreadsheet takes for a formula (OWASP, CSV injection; some look past the spaces before a
sign), or that looks as if an apostrophe had been put before one.
"""
BLOCK = 64 * 1024


def cell(value: Any) -> Any:
    """A value as it may stand in a cell: a text that a spreadsheet would compute gets a leading apostrophe, a time is
    written as ISO 8601, nothing is empty. Numbers stay numbers, negative ones too.
    """
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if COMPUTED.match(text) else text


def plain(text: str) -> str:
    """The text of which `cell` made this."""
    return text[1:] if text.startswith("'") and COMPUTED.match(text) else text


def csv_blocks(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """The rows below their header as CSV (RFC 4180, UTF-8), in blocks of some size: a file of any length in bounded
    memory.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([cell(name) for name in header])
    for row in rows:
        writer.writerow([cell(value) for value in row])
        if buffer.tell() >= BLOCK:
            yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()
