"""Facets by UTF-8 byte, and record keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts import clock
from faces.keys import made_at, new_key
from faces.kinds.bluesky.richtext import facets
from faces.kinds.bluesky.tid import TID, tid

KNOWN = {"bob.test": "did:plc:bob"}


def _marked(text: str) -> list[tuple[str, str]]:
    """What the facets say of which bytes."""
    content, found = text.encode(), []
    for facet in facets(text, KNOWN.get):
        (feature,) = facet["features"]
        index = facet["index"]
        said = feature.get("uri") or feature.get("did") or feature.get("tag")
        found.append((content[index["byteStart"] : index["byteEnd"]].decode(), said))
    return found


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("plain", []),
        ("Grüße 👩‍👩‍👧 https://example.org/a?b=c.", [("https://example.org/a?b=c", "https://example.org/a?b=c")]),
        ("see example.com/x, ok", [("example.com/x", "https://example.com/x")]),
        ("é @bob.test: hi", [("@bob.test", "did:plc:bob")]),
        ("@BOB.test", [("@BOB.test", "did:plc:bob")]),
        ("@nobody.test and a@bob.test stay text", []),
        ("https://example.org/@bob.test/#top", [("https://example.org/@bob.test/#top",) * 2]),
        ("#one, #zwölf! #3 #c3po#x a#b ##", [("#one", "one"), ("#zwölf", "zwölf"), ("#c3po", "c3po")]),
        ("#" + "x" * 65, []),
        (
            "#a(@bob.test #xhttps://b.example",
            [("#a(@bob.test", "a(@bob.test"), ("#xhttps://b.example", "xhttps://b.example")],
        ),
        ("日本語 #日本語", [("#日本語", "日本語")]),
        ("@bob.test #b @bob.test", [("@bob.test", "did:plc:bob"), ("#b", "b"), ("@bob.test", "did:plc:bob")]),
    ],
)
def test_links_mentions_and_hashtags_are_named_by_byte(text: str, marked: list[tuple[str, str]]) -> None:
    assert _marked(text) == marked


def test_a_key_tells_when_it_was_made() -> None:
    before = clock.now()
    key = new_key()
    at = made_at(key)
    assert at is not None
    assert before - timedelta(milliseconds=1) <= at <= clock.now()
    assert (len(key), key[12], key[16] in "89ab") == (32, "7", True)
    assert made_at("key-1") is made_at("9f0c2e7a3b1d4c5e8f60718293a4b5c6") is None


def test_a_record_key_follows_from_the_posts_key() -> None:
    # 2026-05-04 12:00:00 UTC is 1,777,896,000,000 ms, in hexadecimal 019df2dc0a00.
    key = "019df2dc0a007000800000000000002a"
    at = datetime(2026, 5, 4, 12, tzinfo=UTC)
    assert made_at(key) == at
    assert tid(key) == "3mkzmpsi6n5q7"
    number = 0
    for character in tid(key):
        number = number * 32 + "234567abcdefghijklmnopqrstuvwxyz".index(character)
    assert datetime.fromtimestamp((number >> 10) // 1000 / 1000, UTC) == at


def test_record_keys_are_valid_sort_by_time_and_differ() -> None:
    minted = [
        f"{milliseconds:012x}7000800000000000{n:04x}" for milliseconds in (1, 2_000_000_000_000) for n in range(9)
    ]
    found = [tid(key) for key in [*minted, *(f"key {n}" for n in range(1000))]]
    assert all(TID.fullmatch(one) for one in found)
    assert len(set(found)) == len(found)
    assert max(found[:9]) < min(found[9:18])
