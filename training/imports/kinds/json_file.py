"""JSON: one list of objects or texts, taken apart element by element without holding the list.

A splitter finds the commas of the outer list by counting brackets outside texts, so that a broken element spoils one
row and the next is still found; each element is then parsed by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from training.imports.contract import Columns, ImportRefused, Limits, Problem, Table, not_utf8
from training.imports.kinds.json_values import Value, open_values, parse_value
from training.imports.source import TextSource

# A whole JSON text, or a bracket or comma; a lone quotation mark is a text whose end is not in the buffer yet.
TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\],]', re.DOTALL)
CUT_SHORT = "the file ends in the middle of the list; it was cut off or a quotation mark or bracket is missing"


def open_json(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """The list's elements as records. Raises ImportRefused where the file is not a list or no field is the text."""
    source = TextSource(stream, limits)
    if not source.peek().lstrip().startswith("["):
        raise ImportRefused(
            "The file is not a JSON list. Export a list of posts ([…]) or JSON Lines (one object a line).", row=1
        )
    return open_values(_values(source, limits), columns, limits)


@dataclass(frozen=True)
class Element:
    """The source of one element, how deep it is nested, and what follows it: `,` or `]` or, cut short, nothing."""

    raw: str
    depth: int
    end: str


def split_list(chunks: Iterable[str], limits: Limits) -> Iterator[Element]:
    """Elements of the list that the text begins with, then one of end "" if text follows it or it never ends.

    Raises ImportRefused for an element longer than `max_line`.
    """
    buffer = ""
    start = position = depth = deepest = 0
    opened = closed = False
    for chunk in chunks:
        buffer, position, start = buffer[start:] + chunk, position - start, 0
        while not closed and (match := TOKEN.search(buffer, position)):
            mark = match.group() if match.end() - match.start() == 1 else ""
            if mark == '"':
                break
            position = match.end()
            if not opened:
                opened, start = True, position
            elif mark in ("{", "["):
                depth += 1
                deepest = max(deepest, depth)
            elif depth and mark in ("}", "]"):
                depth -= 1
            elif not depth and mark in (",", "]"):
                yield Element(buffer[start : match.start()], deepest, mark)
                start, deepest, closed = position, 0, mark == "]"
        else:
            position = len(buffer)
        if len(buffer) - start > limits.max_line:
            raise ImportRefused(f"the element is longer than {limits.max_line:,} characters. Is a bracket missing?")
    if buffer[start:].strip() or not closed:
        yield Element(buffer[start:], deepest, "")


def list_values(source: TextSource, elements: Iterator[Element], limits: Limits) -> Iterator[Value | Problem]:
    """The value of each element, up to the end of the list."""
    for row, element in enumerate(elements, start=1):
        offset = source.bad_byte(element.raw)
        if offset is not None:
            yield Problem(row, not_utf8(offset))
        elif not element.end:
            yield Problem(row, CUT_SHORT)
        elif element.raw.strip():
            yield parse_value(element.raw, row, element.depth, limits)
        elif element.end == "," or row > 1:
            yield Problem(row, "nothing stands between two commas, or after the last one")
        if element.end == "]":
            return


def after(source: TextSource, opening: re.Pattern[str], limits: Limits) -> Iterator[str]:
    """The text behind the first match of `opening`. Raises ImportRefused where it is not near the beginning."""
    chunks = source.chunks()
    seen = ""
    for chunk in chunks:
        seen += chunk
        if match := opening.search(seen):
            source.bad_byte(seen[: match.end()])
            yield seen[match.end() :]
            yield from chunks
            return
        if len(seen) > limits.max_line:
            break
    raise ImportRefused("The list of posts does not begin where this kind of file has it. Export it again.", row=1)


def _values(source: TextSource, limits: Limits) -> Iterator[Value | Problem]:
    elements = split_list(source.chunks(), limits)
    last = 0
    for item in list_values(source, elements, limits):
        last = item.row
        yield item
    if (rest := next(elements, None)) is not None:
        source.bad_byte(rest.raw)
        yield Problem(last + 1, "there is more after the end of the list")
