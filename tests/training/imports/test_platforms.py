"""The exports of platforms, in the layouts that they really have."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.training.imports.streams import csv_bytes, jsonl_bytes
from training.imports import ImportedRow, ImportRefused, Limits, Preview, archives, preview, read
from training.imports.detect import detect

TWEET = {
    "tweet": {
        "edit_info": {"initial": {"editTweetIds": ["11"], "isEditEligible": False}},
        "retweeted": False,
        "source": '<a href="https://mobile.twitter.com" rel="nofollow">Twitter Web App</a>',
        "entities": {
            "user_mentions": [{"name": "Ann", "screen_name": "ann", "indices": ["0", "4"], "id_str": "7"}],
            "urls": [{"url": "https://t.co/abc", "expanded_url": "https://example.org/page", "indices": ["5", "9"]}],
            "media": [{"url": "https://t.co/pic"}],
        },
        "favorite_count": "12",
        "id_str": "11",
        "truncated": False,
        "retweet_count": "3",
        "id": "11",
        "created_at": "Sat Feb 18 12:33:11 +0000 2023",
        "favorited": False,
        "full_text": "Tea &amp; cake https://t.co/abc https://t.co/pic",
        "lang": "en",
    }
}
ANSWER = {
    "tweet": {
        "id_str": "12", "full_text": "and more cake", "favorite_count": "1", "in_reply_to_status_id_str": "11",
        "in_reply_to_user_id_str": "5", "created_at": "Sat Feb 18 12:40:00 +0000 2023",
    }
}  # fmt: skip
RETWEET = {"tweet": {"id_str": "13", "full_text": "RT @ann: look", "created_at": "Sat Feb 18 13:00:00 +0000 2023"}}
ACCOUNT = [{"account": {"email": "me@example.org", "username": "cakes", "accountId": "5"}}]
NOON = datetime(2023, 2, 18, 12, 33, 11, tzinfo=UTC)


def script(name: str, value: object) -> bytes:
    return f"window.YTD.{name} = {json.dumps(value, indent=2)}".encode()


def zipped(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def rows_of(content: bytes, filename: str, **options: Any) -> tuple[str, list[ImportedRow]]:
    stream = io.BytesIO(content)
    format, whole = detect(stream, filename)
    found = list(read(whole, format, None, **options))
    assert all(isinstance(row, ImportedRow) for row in found), found
    return format, [row for row in found if isinstance(row, ImportedRow)]


def seen(content: bytes, filename: str) -> Preview:
    return preview(io.BytesIO(content), filename)


def test_an_archive_of_x() -> None:
    content = zipped(
        {
            "data/account.js": script("account.part0", ACCOUNT),
            "data/tweets-part1.js": script("tweets.part1", [RETWEET]),
            "data/tweets.js": script("tweets.part0", [ANSWER, TWEET]),
            "data/deleted-tweets.js": script("deleted_tweets.part0", [{"tweet": {"full_text": "gone"}}]),
            "data/like.js": script("like.part0", [{"like": {"fullText": "somebody else's"}}]),
        }
    )
    format, rows = rows_of(content, "twitter-2023.zip")
    assert format == "x_archive"
    answer, tweet, repost = rows
    assert (tweet.text, tweet.score, tweet.author, tweet.created_at) == (
        "Tea & cake https://example.org/page", 12.0, "cakes", NOON,
    )  # fmt: skip
    assert (answer.is_reply, answer.reply_to_text) == (True, "Tea & cake https://example.org/page")
    assert (tweet.is_reply, tweet.is_repost, repost.is_repost) == (False, False, True)
    assert [row.row for row in rows] == [1, 2, 3]


def test_an_archive_of_x_from_before_2019_and_a_bare_script() -> None:
    old = {"id_str": "1", "full_text": "an old tweet", "created_at": "Sat Feb 18 12:33:11 +0000 2017"}
    assert [row.text for row in rows_of(zipped({"tweet.js": script("tweet.part0", [old])}), "archive.zip")[1]] == [
        "an old tweet"
    ]
    assert rows_of(script("tweets.part0", [TWEET]), "tweets.js")[0] == "x_archive"


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_the_trump_archive(ending: str) -> None:
    first = {
        "id": 98454970654916608, "text": "Republicans &amp; Democrats, both", "isRetweet": "f", "isDeleted": "f",
        "device": "TweetDeck", "favorites": 49, "retweets": 255, "date": "2011-08-02 18:07:48", "isFlagged": "f",
    }  # fmt: skip
    second = first | {"text": "RT @somebody: nothing", "isRetweet": "t", "favorites": 0}
    content = (
        json.dumps([first, second]).encode()
        if ending == "json"
        else csv_bytes([list(first), *([str(value) for value in row.values()] for row in (first, second))])
    )
    format, (post, repost) = rows_of(content, f"tweets_01-08-2021.{ending}")
    assert format == "trump_archive"
    assert (post.text, post.score, post.is_repost) == ("Republicans & Democrats, both", 49.0, False)
    assert post.created_at == datetime(2011, 8, 2, 18, 7, 48, tzinfo=UTC)
    assert repost.is_repost


@pytest.mark.parametrize(
    "names",
    [("comment", "reply", "score"), ("parent_body", "body", "score"), ("parent_comment", "comment", "ups")],
)
def test_pairs_of_comment_and_reply(names: tuple[str, ...]) -> None:
    (row,) = rows_of(csv_bytes([names, ("Tea or coffee?", "Tea, always.", "17")]), "pairs.csv")[1]
    assert (row.text, row.reply_to_text, row.score) == ("Tea, always.", "Tea or coffee?", 17.0)


def test_a_dump_of_reddit_is_joined_by_its_parents() -> None:
    common = {"subreddit": "tea", "link_id": "t3_s", "created_utc": 1676723591}
    dump = [
        {"id": "s", "title": "Which tea?", "selftext": "", "author": "ann", "score": 9, "link_flair_text": "Question",
         "permalink": "/r/tea", **common},
        {"id": "a", "body": "Green &gt; black", "author": "bob", "score": 5, "parent_id": "t3_s", **common},
        {"id": "b", "body": "No.", "author": "[deleted]", "score": -2, "parent_id": "t1_a", **common},
        {"id": "c", "body": "[removed]", "author": "eve", "score": 1, "parent_id": "t1_a", **common},
        {"id": "d", "body": "Unknown above", "author": "eve", "score": 1, "parent_id": "t1_zzz", **common},
    ]  # fmt: skip
    for order in (dump, dump[::-1]):
        format, rows = rows_of(jsonl_bytes(order), "RC_2023-02.jsonl")
        by_text = {row.text: row for row in rows}
        assert format == "reddit_dump"
        assert by_text["Green > black"].reply_to_text == "Which tea?"
        assert by_text["No."].reply_to_text == "Which tea?\nGreen > black"
        assert (by_text["No."].author, by_text["No."].score, by_text["No."].community) == ("", -2.0, "tea")
        assert (by_text["Which tea?"].topic, by_text["Which tea?"].is_reply) == ("Question", False)
        assert (by_text["Unknown above"].reply_to_text, by_text["Unknown above"].is_reply) == ("", True)
        assert len(rows) == 4
    assert seen(jsonl_bytes(dump), "RC_2023-02.jsonl").dropped == {"deleted": 1}


PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
ME = "https://example.social/users/ann"


def note(number: int, html: str, to: list[str], **more: object) -> dict[str, object]:
    inner = {
        "id": f"{ME}/statuses/{number}", "type": "Note", "summary": None, "inReplyTo": None, "attributedTo": ME,
        "published": "2023-02-18T12:33:11Z", "to": to, "cc": [f"{ME}/followers"], "content": html, "tag": [],
    }  # fmt: skip
    return {"id": f"{ME}/{number}/activity", "type": "Create", "actor": ME, "object": inner | more}


OUTBOX = {
    "@context": ["https://www.w3.org/ns/activitystreams", {"sensitive": "as:sensitive"}],
    "id": "outbox.json",
    "type": "OrderedCollection",
    "totalItems": 5,
    "orderedItems": [
        note(1, "<p>Tea &amp; cake<br>today</p><p>See <a href='x'><span class='invisible'>https://</span>"
                "<span>example.org</span></a></p>", [PUBLIC], likes={"totalItems": 4}),
        note(2, "<p>More cake</p>", [f"{ME}/followers"], cc=[PUBLIC], inReplyTo=f"{ME}/statuses/1"),
        note(3, "<p>Only for friends</p>", [f"{ME}/followers"], cc=[]),
        note(4, "<p>A secret</p>", ["https://example.social/users/bob"], cc=[]),
        {"id": "y", "type": "Announce", "actor": ME, "object": "https://example.social/users/eve/statuses/9"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("packed", ["json", "zip", "tar.gz"])
def test_an_archive_of_mastodon(packed: str) -> None:
    outbox = json.dumps(OUTBOX, indent=1).encode()
    members = {"media/1.png": b"\x89PNG", "likes.json": b"{}", "outbox.json": outbox, "actor.json": b"{}"}
    content = outbox if packed == "json" else zipped(members) if packed == "zip" else tarred(members)
    filename = "outbox.json" if packed == "json" else f"archive.{packed}"
    format, (tea, more) = rows_of(content, filename)
    assert format == "mastodon"
    assert (tea.text, tea.author, tea.created_at, tea.score) == (
        "Tea & cake\ntoday\n\nSee https://example.org", "ann", NOON, 4.0,
    )  # fmt: skip
    assert (more.is_reply, more.reply_to_text) == (True, tea.text)
    assert seen(content, filename).dropped == {"not public": 2, "repost": 1}


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    return bytes([major << 5 | 25]) + number.to_bytes(2, "big")


def cbor(value: Any) -> bytes:
    """A small encoder, independent of the decoder under test."""
    if isinstance(value, bytes):  # a link
        return b"\xd8\x2a" + head(2, len(value) + 1) + b"\0" + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(cbor(name) + cbor(inner) for name, inner in value.items())
    return b"\xf6" if value is None else head(0, value)


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


CID = b"\x01\x71\x12\x20" + bytes(range(32))
RECORD = {"$type": "app.bsky.feed.post", "text": "Tea & cake", "createdAt": "2023-02-18T12:33:11.000Z", "langs": ["en"]}
PARENT = "at://did:plc:ann/app.bsky.feed.post/1"


def car(blocks: list[Any]) -> bytes:
    header = cbor({"roots": [CID], "version": 1})
    sections = [CID + cbor(block) for block in blocks]
    return varint(len(header)) + header + b"".join(varint(len(each)) + each for each in sections)


def test_a_repository_of_bluesky() -> None:
    commit = {"did": "did:plc:ann", "rev": "3", "sig": "x", "data": CID, "prev": None, "version": 3}
    tree = {"e": [{"k": "app.bsky.feed.post/1", "p": 0, "t": None, "v": CID}], "l": None}
    answer = RECORD | {"text": "Long " * 60, "reply": {"parent": {"uri": PARENT, "cid": "b"}}}
    like = {"$type": "app.bsky.feed.like", "createdAt": "2023-02-18T12:33:11.000Z"}
    content = car([commit, tree, RECORD, like, answer])
    format, (tea, more) = rows_of(content, "repo.car")
    assert format == "bluesky_car"
    assert (tea.text, tea.author, tea.created_at, tea.is_reply) == ("Tea & cake", "did:plc:ann", NOON, False)
    assert (more.text, more.is_reply) == (("Long " * 60).strip(), True)
    with pytest.raises(ImportRefused, match="cut off"):
        rows_of(content[:-1], "repo.car")
    broken = seen(car([RECORD]) + varint(len(CID) + 1) + CID + b"\xff", "repo.car")
    assert (broken.kept, broken.problem_count) == (1, 1)


@pytest.mark.parametrize(
    "wrap", [lambda items: items, lambda items: {"cursor": "x", "records": items}], ids=["list", "answer"]
)
def test_records_of_bluesky_as_json(wrap: Any) -> None:
    records = [
        {"uri": PARENT, "cid": "a", "value": RECORD},
        {
            "uri": PARENT[:-1] + "2",
            "cid": "b",
            "value": RECORD | {"text": "More", "reply": {"parent": {"uri": PARENT}}},
        },
    ]
    format, (tea, more) = rows_of(json.dumps(wrap(records)).encode(), "posts.json")
    assert (format, tea.author, more.reply_to_text) == ("bluesky_json", "did:plc:ann", "Tea & cake")


def test_a_feed_of_bluesky_has_likes() -> None:
    view = {"uri": PARENT, "author": {"handle": "ann.example"}, "record": RECORD, "likeCount": 8}
    feed = [{"post": view}, {"post": view | {"uri": "x"}, "reason": {"$type": "app.bsky.feed.defs#reasonRepost"}}]
    (tea, again) = rows_of(json.dumps({"feed": feed}).encode(), "feed.json", chosen={})[1]
    assert (tea.author, tea.score, tea.is_repost, again.is_repost) == ("ann.example", 8.0, False, True)


def test_gpt2_simples_text() -> None:
    content = b"<|startoftext|>A first\npost<|endoftext|>\n<|startoftext|>A second<|endoftext|>\n"
    format, rows = rows_of(content, "train.txt")
    assert (format, [row.text for row in rows]) == ("gpt2_simple", ["A first\npost", "A second"])
    bare = rows_of(b"One post<|endoftext|>Two posts<|endoftext|>The third", "train.txt")[1]
    assert [row.text for row in bare] == ["One post", "Two posts", "The third"]


def test_gpt2_simples_table() -> None:
    assert [row.text for row in rows_of(b'tweets\n"A first, post"\nA second\n', "tweets.csv")[1]] == [
        "A first, post",
        "A second",
    ]


@pytest.mark.parametrize("name", ["data/tweets.js", "outbox.json"])
def test_an_archive_that_would_unpack_for_hours_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SPARE_BYTES", 1_000_000)
    bomb = zipped({name: b"window.YTD.tweets.part0 = [" + b" " * 3_000_000})
    assert len(bomb) < 10_000
    with pytest.raises(ImportRefused, match="unpacks to far more than its own size"):
        rows_of(bomb, "bomb.zip", limits=Limits())


def test_a_tar_that_would_unpack_for_hours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SPARE_BYTES", 1_000_000)
    bomb = tarred({"media/1.png": b"\0" * 3_000_000, "outbox.json": b"{}"})
    assert len(bomb) < 10_000
    with pytest.raises(ImportRefused, match="unpacks to far more than its own size"):
        rows_of(bomb, "bomb.tar.gz")


def test_archives_of_something_else_are_refused() -> None:
    with pytest.raises(ImportRefused, match="ZIP archive or an Excel"):
        seen(zipped({"xl/workbook.xml": b"<workbook/>"}), "posts.zip")
    with pytest.raises(ImportRefused, match=r"no outbox\.json"):
        seen(tarred({"a.txt": b"text"}), "posts.tar.gz")
    with pytest.raises(ImportRefused, match="damaged"):
        seen(zipped({"data/tweets.js": script("tweets.part0", [TWEET])})[:-30], "archive.zip")


def test_a_preview_looks_at_the_first_rows_only_and_says_so() -> None:
    content = jsonl_bytes({"text": f"post number {number}"} for number in range(100))
    part = preview(io.BytesIO(content), "posts.jsonl", rows=40)
    assert (part.kept, part.looked_at, part.complete) == (40, 40, False)
    whole = preview(io.BytesIO(content), "posts.jsonl", rows=100)
    assert (whole.kept, whole.looked_at, whole.complete) == (100, 100, True)
