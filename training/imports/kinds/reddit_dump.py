"""Dumps of Reddit comments and submissions as JSON (Pushshift, Arctic Shift and their like): one object a line.

A comment's `parent_id` says what it answers: "t1_" and a comment's id, or "t3_" and a submission's.
"""

from __future__ import annotations

import html
from typing import Any, BinaryIO

from training.imports.contract import DELETED, NOT_A_POST, Columns, Dropped, Limits, RawRow, Table
from training.imports.kinds.platform_records import records_of, table, values_of
from training.imports.threads import with_context

GONE = frozenset(("[deleted]", "[removed]"))


def open_reddit_dump(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Comments and submissions as records, with the thread above each; a chosen column is ignored."""
    return table(with_context(records_of(values_of(stream, limits), _record)))


def _record(row: int, value: dict[str, Any]) -> RawRow | Dropped:
    comment = "body" in value
    text = value.get("body") if comment else _submission(value)
    if text is None:
        return Dropped(row, NOT_A_POST)
    if isinstance(text, str) and text.strip() in GONE:
        return Dropped(row, DELETED)
    author = value.get("author")
    own_id = value.get("id")
    return RawRow(
        row,
        {
            "text": html.unescape(text) if isinstance(text, str) else text,
            "score": value.get("score"),
            "author": "" if author in GONE else author,
            "community": value.get("subreddit"),
            "topic": value.get("link_flair_text"),
            "created_at": value.get("created_utc"),
            "id": value.get("name") or (f"{'t1' if comment else 't3'}_{own_id}" if own_id else None),
            "in_reply_to": value.get("parent_id"),
        },
    )


def _submission(value: dict[str, Any]) -> str | None:
    title, body = value.get("title"), value.get("selftext")
    if not isinstance(title, str):
        return None
    return f"{title}\n\n{body}" if isinstance(body, str) and body.strip() and body.strip() not in GONE else title
