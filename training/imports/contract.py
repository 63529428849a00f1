"""What an import gives and takes: rows, problems, drops, columns and limits. Standard library only, no Django.

Rows are numbered from 1 as the person finds them: in CSV as a spreadsheet numbers them (a header is row 1, a cell with
line breaks is still one row), in JSON Lines and plain text by line, in JSON by position in the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeVar

Role = Literal[
    "text", "score", "author", "community", "created_at", "reply_to_text", "topic", "is_repost", "in_reply_to", "id"
]
ROLES: tuple[Role, ...] = (
    "text", "score", "author", "community", "topic", "created_at", "reply_to_text", "in_reply_to", "is_repost",
)  # fmt: skip
"""The roles that a person can choose a column for; the formats of platforms give `id` as well."""


class ImportRefused(Exception):
    """The file cannot be imported at all. `str()` says why and what to do next.

    `row`: where reading stopped (1-based), where it is known. `columns_found`: what the person can choose the columns
    from.
    """

    def __init__(self, reason: str, *, row: int | None = None, columns_found: tuple[str, ...] = ()) -> None:
        super().__init__(reason if row is None else f"Row {row}: {reason}")
        self.reason = reason
        self.row = row
        self.columns_found = columns_found

    def at(self, row: int) -> ImportRefused:
        """The same refusal with its row, where it did not know one."""
        return self if self.row is not None else ImportRefused(self.reason, row=row, columns_found=self.columns_found)


@dataclass(frozen=True)
class Limits:
    """How much an import may take. Lengths are in characters; `max_line` bounds a CSV row and a JSON element too.

    An archive may unpack to `max_ratio` times what was read of it and 100 MB, so that a small file cannot unpack for
    hours.
    """

    max_bytes: int = 10_000_000_000
    max_rows: int = 100_000_000
    max_ratio: int = 100
    max_columns: int = 200
    max_line: int = 1_000_000
    max_depth: int = 20
    min_text: int = 2
    max_text: int = 100_000
    max_label: int = 200


@dataclass(frozen=True)
class Columns:
    """Which column plays which part. None: no column does; for `text`, that every row is the text itself.

    In JSON a nested field is addressed by a dotted path ("tweet.full_text"); in a CSV file without a header a column is
    addressed by its position ("#1" is the first).
    """

    text: str | None = None
    score: str | None = None
    author: str | None = None
    community: str | None = None
    created_at: str | None = None
    reply_to_text: str | None = None
    topic: str | None = None
    is_repost: str | None = None
    in_reply_to: str | None = None

    def chosen(self) -> dict[Role, str]:
        """Role → column, for the roles that have one."""
        named = {role: getattr(self, role) for role in ROLES}
        return {role: name for role, name in named.items() if name is not None}


@dataclass(frozen=True)
class ImportedRow:
    """One past post. `created_at` is aware and in UTC; `score` is finite, None when the file does not say;
    `reply_to_text` is what it answers, oldest first.
    """

    text: str
    score: float | None
    author: str
    community: str
    created_at: datetime | None
    row: int
    reply_to_text: str = ""
    topic: str = ""
    is_repost: bool = False
    is_reply: bool = False


@dataclass(frozen=True)
class Problem:
    """A row that is broken: the file is refused unless the person asks for the good rows only."""

    row: int
    reason: str


@dataclass(frozen=True)
class Dropped:
    """A row that is well formed and left out on purpose. `filter` is the name of the filter that did, with the text and
    the `detail` that it went by.
    """

    row: int
    reason: str
    filter: str = ""
    detail: str = ""
    text: str = ""


@dataclass(frozen=True)
class RawRow:
    """One record as its format gives it: the value of each role that has a column, not yet checked."""

    row: int
    values: Mapping[Role, object]


@dataclass(frozen=True)
class Table:
    """An opened file: the columns in use, all that were found, and the records, read as they are asked for."""

    columns: Columns
    columns_found: tuple[str, ...]
    records: Iterator[RawRow | Dropped | Problem]


class Numbered(Protocol):
    """Whatever knows its row."""

    @property
    def row(self) -> int: ...


Item = TypeVar("Item", bound=Numbered)


def located(items: Iterator[Item]) -> Iterator[Item]:
    """The same items; a refusal on the way that knows no row gets the one after the last that was read."""
    last = 0
    try:
        for item in items:
            last = item.row
            yield item
    except ImportRefused as refused:
        raise refused.at(last + 1) from refused.__cause__


NO_TEXT = "no text"
TOO_SHORT = "too short"
REPOST = "repost"
DELETED = "deleted"
NOT_PUBLIC = "not public"
NOT_A_POST = "not a post"


def not_utf8(offset: int) -> str:
    return f"byte {offset} is not valid UTF-8; save the file as UTF-8"
