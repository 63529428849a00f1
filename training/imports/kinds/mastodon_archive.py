"""The archive that Mastodon gives its users: `outbox.json` in a zip or tar.gz file, or bare.

An ActivityPub collection: `Create` activities hold a note with its HTML, `Announce` are boosts. What went to followers
or single people only was not written for everybody, and stays out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from training.imports import archives
from training.imports.contract import (
    NOT_A_POST,
    NOT_PUBLIC,
    REPOST,
    Columns,
    Dropped,
    ImportRefused,
    Limits,
    RawRow,
    Table,
)
from training.imports.kinds.json_file import after, list_values, split_list
from training.imports.kinds.platform_records import Record, inner, records_of, table
from training.imports.markup import to_text
from training.imports.source import Rejoined, TextSource, read_head
from training.imports.threads import with_context

OUTBOX = re.compile(r"(?:^|/)outbox\.json$")
OPENING = re.compile(r'"orderedItems"\s*:\s*(?=\[)')
PUBLIC = frozenset(("https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"))


def open_mastodon_archive(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Public notes as records, each answer to an own note with that note; a chosen column is ignored.

    Raises ImportRefused for an archive without an outbox, and for one that unpacks to too much.
    """
    return table(with_context(_records(stream, limits)))


def _records(stream: BinaryIO, limits: Limits) -> Iterator[Record]:
    for outbox in _outboxes(stream, limits):
        source = TextSource(outbox, limits)
        values = list_values(source, split_list(after(source, OPENING, limits), limits), limits)
        yield from records_of(values, _activity)


def _outboxes(stream: BinaryIO, limits: Limits) -> Iterator[BinaryIO]:
    if stream.seekable():
        start = stream.tell()
        if stream.read(len(archives.ZIP)) == archives.ZIP:
            yield from archives.zip_members(stream, OUTBOX, limits)
            return
        stream.seek(start)
    head = read_head(stream)
    whole: Any = Rejoined(head, stream)
    if not head.startswith(archives.GZIP):
        yield whole
        return
    outbox = archives.tar_member(whole, OUTBOX, limits)
    if outbox is None:
        raise ImportRefused(
            "The archive holds no outbox.json. Request an archive of your posts from your Mastodon server."
        )
    yield outbox


def _activity(row: int, value: dict[str, Any]) -> RawRow | Dropped:
    if value.get("type") == "Announce":
        return Dropped(row, REPOST)
    note = value.get("object")
    if value.get("type") != "Create" or not isinstance(note, dict) or not isinstance(note.get("content"), str):
        return Dropped(row, NOT_A_POST)
    readers = [reader for name in ("to", "cc") for reader in _listed(note.get(name, value.get(name)))]
    if not PUBLIC & set(readers):
        return Dropped(row, NOT_PUBLIC)
    actor = note.get("attributedTo") or value.get("actor")
    return RawRow(
        row,
        {
            "text": to_text(note["content"]),
            "score": inner(note, "likes", "totalItems"),
            "author": actor.rstrip("/").rpartition("/")[2].removeprefix("@") if isinstance(actor, str) else "",
            "created_at": note.get("published") or value.get("published"),
            "id": note.get("id"),
            "in_reply_to": note.get("inReplyTo"),
        },
    )


def _listed(value: object) -> list[str]:
    found = value if isinstance(value, list) else [value]
    return [each for each in found if isinstance(each, str)]
