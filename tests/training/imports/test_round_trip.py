"""Whatever Unicode goes in comes out, in every format."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.imports.streams import EVERYTHING, csv_bytes, jsonl_bytes, read_bytes, texts
from training.imports.rows import fingerprint

# Everything but control characters and surrogates, with line breaks and tabs; surrounding whitespace is not kept.
POST = (
    st.text(st.one_of(st.characters(exclude_categories=("Cc", "Cs")), st.sampled_from("\n\t \"',;|[]{}\\#🧑🏽‍🚀")))
    .map(str.strip)
    .filter(bool)
)
POSTS = st.lists(POST, min_size=1, max_size=12, unique_by=fingerprint)
LINES = st.lists(
    POST.map(lambda text: " ".join(text.split("\n"))).map(str.strip).filter(bool), min_size=1, unique_by=fingerprint
)


@given(POSTS)
def test_a_csv_column_comes_back_exactly(posts: list[str]) -> None:
    content = csv_bytes([["text"], *([post] for post in posts)])
    assert texts(read_bytes(content, "csv", None, EVERYTHING)) == posts


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@given(posts=POSTS)
def test_csv_with_other_columns_comes_back_exactly(delimiter: str, posts: list[str]) -> None:
    content = csv_bytes([["id", "text", "score"], *(["7", post, "1.5"] for post in posts)], delimiter=delimiter)
    rows = read_bytes(content, "csv", None, EVERYTHING)
    assert texts(rows) == posts
    assert [row.row for row in rows] == list(range(2, len(posts) + 2))


@given(POSTS, st.booleans())
def test_json_lines_come_back_exactly(posts: list[str], ascii: bool) -> None:
    content = jsonl_bytes(({"text": post} for post in posts), ascii=ascii)
    assert texts(read_bytes(content, "jsonl", None, EVERYTHING)) == posts


@given(POSTS, st.booleans(), st.sampled_from([None, 2]))
def test_a_json_list_comes_back_exactly(posts: list[str], ascii: bool, indent: int | None) -> None:
    content = json.dumps([{"text": post, "n": [1, {}]} for post in posts], ensure_ascii=ascii, indent=indent).encode()
    assert texts(read_bytes(content, "json", None, EVERYTHING)) == posts


@given(POSTS)
def test_a_json_list_of_texts_comes_back_exactly(posts: list[str]) -> None:
    assert texts(read_bytes(json.dumps(posts).encode(), "json", None, EVERYTHING)) == posts


@given(LINES, st.sampled_from(["utf-8-sig", "utf-16"]))
def test_plain_text_comes_back_exactly(posts: list[str], encoding: str) -> None:
    content = "\n".join(posts).encode(encoding)
    assert texts(read_bytes(content, "text", None, EVERYTHING)) == posts


@pytest.mark.parametrize("format", ["csv", "jsonl", "json", "text"])
def test_characters_across_the_pieces_of_a_long_file_are_kept(format: str) -> None:
    posts = [f"{number} 🧑🏽‍🚀 héllo e\u0301 שלום 𝔘𝔫𝔦" + "ж" * (number % 50) for number in range(4000)]
    content = {
        "csv": csv_bytes([["text"], *([post] for post in posts)]),
        "jsonl": jsonl_bytes({"text": post} for post in posts),
        "json": json.dumps([{"text": post} for post in posts], ensure_ascii=False).encode(),
        "text": "\r\n".join(posts).encode(),
    }[format]
    assert len(content) > 4 * 65_536
    assert texts(read_bytes(content, format)) == posts
