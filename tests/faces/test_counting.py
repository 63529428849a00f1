"""Lengths as the platforms count them; the cases of X are of its published conformance rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faces import counting


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("This is a test.", 15),
        ("Caf\u00e9", 4),
        ("Cafe\u0301", 4),  # one letter once composed
        ("故宫", 4),
        ("日本語のテキスト", 16),
        ("\U0001f600", 2),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", 2),  # a family of four
        ("\U0001f44b\U0001f3fd", 2),  # a skin tone
        ("\U0001f1e9\U0001f1ea", 2),  # a flag
        ("\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", 2),  # a flag made of tags
        ("1\ufe0f\u20e3", 2),
        ("\u00a9 2013", 6),
        ("2013 #1*", 8),
        ("“quoted” – yes…", 16),  # the ellipsis lies outside of the light ranges
        ("https://example.org/a/very/long/path?with=a&query=string", 23),
        ("See https://a.example/x, then go.", 33 - 19 + 23),
        ("Go to example.com now", 6 + 23 + 4),
        ("mail@example.com", 16),
        ("https://" + "a" * 64 + ".com", 76),  # a name that cannot be looked up is no link
        ("\u2066\u202ahttp://example.org/\u202c\u2069", 31),
        ("\u1100", 2),
        ("\u200b", 1),
    ],
)
def test_weighted_length_of_x(text: str, length: int) -> None:
    assert counting.weighted(text) == length


@pytest.mark.parametrize(
    ("text", "graphemes", "utf16"),
    [
        ("abc", 3, 3),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", 1, 11),
        ("e\u0301", 1, 2),
        ("\U0001f600", 1, 2),
        ("\r\n", 1, 2),
    ],
)
def test_graphemes_and_utf16_units(text: str, graphemes: int, utf16: int) -> None:
    assert (counting.graphemes(text), counting.utf16(text)) == (graphemes, utf16)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("Hello @alice@mastodon.example!", len("Hello @alice!")),
        ("Hello @alice", 12),
        ("https://example.org/" + "x" * 100, 23),
        ("(https://example.org/a)", 25),
        ("write to alice@example.org", 26),
    ],
)
def test_mastodon_counts_links_once_and_mentions_without_their_domain(text: str, length: int) -> None:
    assert counting.mastodon(text) == length


def test_an_instance_may_weigh_links_differently() -> None:
    assert counting.mastodon("https://example.org/path", link_weight=10) == 10


@given(st.text(), st.text())
def test_no_count_fails_or_is_negative(first: str, second: str) -> None:
    for count in (counting.weighted, counting.graphemes, counting.utf16, counting.mastodon):
        assert count(first + " " + second) >= 0
    assert counting.utf16(first + second) == counting.utf16(first) + counting.utf16(second)
