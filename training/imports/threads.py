"""Which post answers which: texts are kept by id on the disk, so that memory stays flat however long the file is.

Exports stand in order of time, mostly: what a post answers is found wherever it stands before it, and up to
`WINDOW` records after it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from training.imports.contract import Dropped, Problem, RawRow, Role

WINDOW = 10_000
LEVELS = 3
"""How far up a thread is followed."""
LONGEST = 2000
"""Characters kept of a text that others may answer."""


class Texts:
    """Texts and what each answers, by id, in a file of SQLite's own that goes with the object."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA cache_size = -65536")  # in KiB
        self._database.execute("CREATE TABLE posts (id TEXT PRIMARY KEY, parent TEXT, text TEXT) WITHOUT ROWID")

    def remember(self, rows: list[tuple[str, str, str]]) -> None:
        """Keep (id, id of what it answers, text)."""
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR IGNORE INTO posts VALUES (?, ?, ?)", rows)
        self._database.execute("COMMIT")

    def above(self, parent: str) -> str:
        """What stands above an answer to `parent`, oldest first, "" where it is not known."""
        found: list[str] = []
        while parent and len(found) < LEVELS:
            row = self._database.execute("SELECT parent, text FROM posts WHERE id = ?", (parent,)).fetchone()
            if row is None:
                break
            parent, text = row
            found.append(text)
        return "\n".join(reversed(found))


def with_context(records: Iterator[RawRow | Dropped | Problem]) -> Iterator[RawRow | Dropped | Problem]:
    """The same records, each answer with what it answers, where the file holds that too."""
    texts = Texts()
    while window := list(islice(records, WINDOW)):
        texts.remember([_entry(item.values) for item in window if isinstance(item, RawRow) and item.values.get("id")])
        for item in window:
            parent = item.values.get("in_reply_to") if isinstance(item, RawRow) else None
            if isinstance(item, RawRow) and parent and (above := texts.above(str(parent))):
                item = replace(item, values={**item.values, "reply_to_text": above})
            yield item


def _entry(values: Mapping[Role, object]) -> tuple[str, str, str]:
    text = values.get("text")
    parent = values.get("in_reply_to")
    kept = text[:LONGEST].encode("utf-8", "replace").decode() if isinstance(text, str) else ""
    return str(values["id"]), str(parent) if parent else "", kept
