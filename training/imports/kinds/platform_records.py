"""What the formats of platforms share: each knows its own fields, so that nobody has to choose columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from training.imports.contract import NOT_A_POST, Columns, Dropped, Limits, Problem, RawRow, Table
from training.imports.kinds.json_file import list_values, split_list
from training.imports.kinds.json_lines import line_values
from training.imports.kinds.json_values import Value
from training.imports.source import TextSource

Record = RawRow | Dropped | Problem
Reader = Callable[[int, Any], RawRow | Dropped]
"""From a row's number and its JSON object to the record."""


def records_of(values: Iterator[Value | Problem], read: Reader) -> Iterator[Record]:
    """The records of parsed values; what is no object is no post."""
    for item in values:
        if isinstance(item, Problem):
            yield item
        elif isinstance(item.data, dict):
            yield read(item.row, item.data)
        else:
            yield Dropped(item.row, NOT_A_POST)


def values_of(stream: BinaryIO, limits: Limits) -> Iterator[Value | Problem]:
    """The values of a JSON list, or of JSON Lines."""
    source = TextSource(stream, limits)
    if source.peek().lstrip().startswith("["):
        return list_values(source, split_list(source.chunks(), limits), limits)
    return line_values(source, limits)


def table(records: Iterator[Record]) -> Table:
    """A table whose columns nobody chooses."""
    return Table(columns=Columns(), columns_found=(), records=records)


def inner(value: object, *path: str) -> Any:
    """The value at the end of a path of fields, None where it is not there."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
