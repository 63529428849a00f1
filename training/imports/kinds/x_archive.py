"""The archive that X (Twitter) gives its users: `data/tweets.js` in a zip file, in parts where it is long, or bare.

Each part is a script, `window.YTD.tweets.part0 = [{"tweet": {…}}, …]`; archives before 2019 have no "tweet" around the
fields. The author stands in `data/account.js`. Texts hold HTML entities and shortened addresses.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from training.imports import archives
from training.imports.contract import Columns, Dropped, ImportRefused, Limits, RawRow, Table
from training.imports.kinds.json_file import after, list_values, split_list
from training.imports.kinds.platform_records import Record, inner, records_of, table
from training.imports.source import TextSource, read_head
from training.imports.threads import with_context

TWEETS = re.compile(r"(?:^|/)tweets?(?:-part\d+)?\.js$")
ACCOUNT = re.compile(r"(?:^|/)account\.js$")
OPENING = re.compile(r"=\s*(?=\[)")
USERNAME = re.compile(r'"username"\s*:\s*"(\w{1,50})"')


def open_x_archive(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Tweets as records, with the likes as score; a chosen column has no meaning here and is ignored.

    Raises ImportRefused for an archive that unpacks to too much.
    """
    return table(with_context(_records(stream, limits)))


def _records(stream: BinaryIO, limits: Limits) -> Iterator[Record]:
    if not stream.seekable():
        yield from _tweets(stream, "", limits, 0)
        return
    start = stream.tell()
    zipped = stream.read(len(archives.ZIP)) == archives.ZIP
    stream.seek(start)
    if not zipped:
        yield from _tweets(stream, "", limits, 0)
        return
    author, last = _author(stream, limits), 0
    for member in archives.zip_members(stream, TWEETS, limits):
        for record in _tweets(member, author, limits, last):
            last = record.row
            yield record


def _author(stream: BinaryIO, limits: Limits) -> str:
    for member in archives.zip_members(stream, ACCOUNT, limits):
        if found := USERNAME.search(read_head(member).decode("utf-8", "replace")):
            return found.group(1)
    return ""


def _tweets(stream: BinaryIO, author: str, limits: Limits, before: int) -> Iterator[Record]:
    source = TextSource(stream, limits)
    try:
        values = list_values(source, split_list(after(source, OPENING, limits), limits), limits)
        for record in records_of(values, lambda row, value: _tweet(row + before, value, author)):
            yield record if isinstance(record, RawRow | Dropped) else replace(record, row=record.row + before)
    except ImportRefused as refused:
        raise refused if refused.row is None else ImportRefused(refused.reason, row=refused.row + before) from refused


def _tweet(row: int, value: dict[str, Any], author: str) -> RawRow:
    tweet = value.get("tweet") if isinstance(value.get("tweet"), dict) else value
    text = inner(tweet, "full_text") or inner(tweet, "text")
    return RawRow(
        row,
        {
            "text": html.unescape(_whole_addresses(text, tweet)) if isinstance(text, str) else text,
            "score": inner(tweet, "favorite_count"),
            "author": inner(tweet, "user", "screen_name") or author,
            "created_at": inner(tweet, "created_at"),
            "id": inner(tweet, "id_str") or inner(tweet, "id"),
            "in_reply_to": inner(tweet, "in_reply_to_status_id_str") or inner(tweet, "in_reply_to_user_id_str"),
            "is_repost": bool(inner(tweet, "retweeted_status")) or (isinstance(text, str) and text.startswith("RT @")),
        },
    )


def _whole_addresses(text: str, tweet: Any) -> str:
    """The text with shortened addresses written out, and without those of its own pictures."""
    for found in _list(inner(tweet, "entities", "urls")):
        short, whole = inner(found, "url"), inner(found, "expanded_url")
        if isinstance(short, str) and short and isinstance(whole, str):
            text = text.replace(short, whole)
    for found in _list(inner(tweet, "entities", "media")):
        short = inner(found, "url")
        if isinstance(short, str) and short:
            text = text.replace(short, "")
    return text


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
