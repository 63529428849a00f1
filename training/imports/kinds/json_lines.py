"""JSON Lines: every line is one JSON object, or one JSON text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from training.imports.contract import Columns, Limits, Problem, Table, not_utf8
from training.imports.kinds.json_values import Value, open_values, parse_value
from training.imports.source import TextSource


def open_json_lines(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Lines as records; blank lines count as rows without text. Raises ImportRefused where no field is the text."""
    return open_values(line_values(TextSource(stream, limits), limits), columns, limits)


def line_values(source: TextSource, limits: Limits) -> Iterator[Value | Problem]:
    """The value of each line; None for a blank one."""
    for row, line in enumerate(source.lines(), start=1):
        offset = source.bad_byte(line)
        if offset is not None:
            yield Problem(row, not_utf8(offset))
        elif not line.strip():
            yield Value(row, None)
        else:
            yield parse_value(line, row, _depth(line, limits), limits)


def _depth(line: str, limits: Limits) -> int:
    """At least the depth of nesting: all brackets, and only where they are many, those outside texts."""
    brackets = line.count("{") + line.count("[")
    if brackets <= limits.max_depth:
        return brackets
    deepest = depth = 0
    in_text = escaped = False
    for char in line:
        if in_text:
            in_text = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_text = True
        elif char in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "}]":
            depth -= 1
    return deepest
