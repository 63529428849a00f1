"""Bluesky's posts as JSON: records (`com.atproto.repo.listRecords`, or alone), or views of a feed, which have likes.

In a list, in JSON Lines, or under `records`, `feed` or `posts` as the API answers.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO

from training.imports.contract import NOT_A_POST, Columns, Dropped, Limits, RawRow, Table
from training.imports.kinds.json_file import after, list_values, split_list
from training.imports.kinds.platform_records import inner, records_of, table, values_of
from training.imports.source import Rejoined, TextSource, read_head
from training.imports.threads import with_context

POST = "app.bsky.feed.post"
OPENING = re.compile(rb'^\s*\{[^\[\]]{0,2000}?"(?:records|feed|posts)"\s*:\s*(?=\[)')
HANDLE = re.compile(r"^at://([^/]+)/")


def open_bluesky_json(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Posts as records, each answer with what it answers where the file holds it; a chosen column is ignored."""
    head = read_head(stream)
    whole: Any = Rejoined(head, stream)
    if OPENING.match(head):
        source = TextSource(whole, limits)
        opening = re.compile(OPENING.pattern.decode())
        values = list_values(source, split_list(after(source, opening, limits), limits), limits)
    else:
        values = values_of(whole, limits)
    return table(with_context(records_of(values, _item)))


def _item(row: int, value: dict[str, Any]) -> RawRow | Dropped:
    view = value["post"] if isinstance(value.get("post"), dict) else value
    record = next((view[name] for name in ("record", "value") if isinstance(view.get(name), dict)), view)
    uri = view.get("uri")
    owner = HANDLE.match(uri) if isinstance(uri, str) else None
    found = post(row, record, inner(view, "author", "handle") or (owner.group(1) if owner else ""))
    if isinstance(found, Dropped):
        return found
    above = inner(value, "reply", "parent", "record", "text")
    more: dict[Any, object] = {"score": view.get("likeCount"), "id": uri, "is_repost": bool(value.get("reason"))}
    if above:
        more["reply_to_text"] = above
    return RawRow(row, {**found.values, **more})


def post(row: int, record: dict[str, Any], author: str) -> RawRow | Dropped:
    """A record of the lexicon `app.bsky.feed.post`."""
    if record.get("$type") != POST:
        return Dropped(row, NOT_A_POST)
    return RawRow(
        row,
        {
            "text": record.get("text"),
            "author": author,
            "created_at": record.get("createdAt"),
            "in_reply_to": inner(record, "reply", "parent", "uri"),
        },
    )
