"""What JSON and JSON Lines share: values parsed with care, and columns guessed from the first records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

from training.imports.columns import check_choice, guess_columns, refuse_without_text
from training.imports.contract import NO_TEXT, Columns, Dropped, Limits, Problem, RawRow, Role, Table, located

# A field may be missing from some records: the columns are those of the first hundred together.
LOOKED_AT = 100
NESTED_LEVELS = 3


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number that JSON knows")


DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class Value(NamedTuple):
    """A parsed record and its row."""

    row: int
    data: Any


def parse_value(raw: str, row: int, depth: int, limits: Limits) -> Value | Problem:
    """The JSON value of a record with its row, or the problem. `depth`: at least as deep as the value is nested."""
    if depth > limits.max_depth:
        return Problem(row, f"nested more than {limits.max_depth} levels deep")
    try:
        value = DECODER.decode(raw)
    except json.JSONDecodeError as error:
        return Problem(
            row, f"not valid JSON: {error.msg} (line {error.lineno}, character {error.colno} of this record)"
        )
    except ValueError as error:
        return Problem(row, f"not valid JSON: {error}")
    if isinstance(value, dict) and len(value) > limits.max_columns:
        return Problem(row, f"has {len(value):,} fields; at most {limits.max_columns} can be read")
    if value is not None and not isinstance(value, str | dict):
        return Problem(row, "is neither an object with fields nor a text")
    return Value(row, value)


def open_values(values: Iterator[Value | Problem], columns: Columns | None, limits: Limits) -> Table:
    """A table over parsed values. Raises ImportRefused where objects have no field for the text."""
    values = located(values)
    first = list(islice(values, LOOKED_AT))
    objects = [item.data for item in first if isinstance(item, Value) and isinstance(item.data, dict)]
    found = tuple(dict.fromkeys(path for value in objects for path in _paths(value)))[: limits.max_columns]
    used = _choose(columns, found) if objects else Columns()
    return Table(columns=used, columns_found=found, records=_records(chain(first, values), used))


def _choose(columns: Columns | None, found: tuple[str, ...]) -> Columns:
    if columns is not None and columns.text is not None:
        check_choice(columns, found)
        return columns
    guess = guess_columns(found)
    if guess.text is None:
        raise refuse_without_text(found)
    return guess


def _records(values: Iterator[Value | Problem], columns: Columns) -> Iterator[RawRow | Dropped | Problem]:
    chosen = columns.chosen()
    for item in values:
        if isinstance(item, Problem):
            yield item
            continue
        row, value = item
        if value is None:
            yield Dropped(row, NO_TEXT)
        elif isinstance(value, str):
            yield RawRow(row, {"text": value})
        elif not chosen:
            yield Problem(row, "is an object, where the first rows of the file are texts")
        else:
            yield RawRow(row, _fields(value, chosen))


def _fields(value: Mapping[str, Any], chosen: Mapping[Role, str]) -> dict[Role, object]:
    return {role: _look_up(value, path) for role, path in chosen.items()}


def _look_up(value: Mapping[str, Any], path: str) -> object:
    if path in value:
        return value[path]
    head, dot, rest = path.partition(".")
    inner = value.get(head)
    return _look_up(inner, rest) if dot and isinstance(inner, dict) else None


def _paths(value: Mapping[str, Any], levels: int = NESTED_LEVELS) -> Iterator[str]:
    for name, inner in value.items():
        if isinstance(inner, dict) and levels > 1:
            yield from (f"{name}.{path}" for path in _paths(inner, levels - 1))
        else:
            yield name
