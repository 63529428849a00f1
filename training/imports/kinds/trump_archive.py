"""The Trump Archive's downloads (thetrumparchive.com): JSON or CSV with `isRetweet` "t" or "f", and HTML entities."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from training.imports.contract import Columns, Dropped, Limits, Problem, RawRow, Table
from training.imports.kinds.csv_file import open_csv
from training.imports.kinds.json_file import open_json
from training.imports.source import Rejoined, read_head

COLUMNS = Columns(text="text", score="favorites", created_at="date", is_repost="isRetweet")


def open_trump_archive(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Posts as records, the favourites as score; columns can be chosen as in JSON and CSV."""
    head = read_head(stream)
    whole = Rejoined(head, stream)
    opener = open_json if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"[") else open_csv
    chosen = columns if columns is not None and columns.text is not None else COLUMNS
    opened = opener(whole, chosen, limits)  # type: ignore[arg-type]
    return replace(opened, records=_plain(opened.records))


def _plain(records: Iterator[RawRow | Dropped | Problem]) -> Iterator[RawRow | Dropped | Problem]:
    for record in records:
        if isinstance(record, RawRow) and isinstance(text := record.values.get("text"), str):
            yield replace(record, values={**record.values, "text": html.unescape(text)})
        else:
            yield record
