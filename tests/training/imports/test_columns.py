from __future__ import annotations

import io

import pytest

from tests.training.imports.streams import csv_bytes, jsonl_bytes, read_bytes, texts
from training.imports import Columns, ImportRefused, preview
from training.imports.columns import guess_columns


@pytest.mark.parametrize(
    ("found", "columns"),
    [
        (
            ["created_at", "subreddit", "score", "ups", "downs", "num_comments", "text"],
            Columns(text="text", score="score", community="subreddit", created_at="created_at"),
        ),
        (["Title", "Body", "Ups"], Columns(text="Body", score="Ups")),
        (
            ["fullText", "favorite-count", "Screen Name", "created_utc", "tag"],
            Columns("fullText", "favorite-count", "Screen Name", None, "created_utc", topic="tag"),
        ),
        (["id", "colour"], Columns()),
        (
            ["tweet.created_at", "tweet.full_text", "tweet.user.name"],
            Columns(text="tweet.full_text", created_at="tweet.created_at"),
        ),
        (["text", "parent_text"], Columns(text="text", reply_to_text="parent_text")),
        (
            ["comment_body", "reply_body", "reply_score"],
            Columns(text="reply_body", score="reply_score", reply_to_text="comment_body"),
        ),
        (
            ["date", "handle", "text", "favorite_count", "repost_flag", "deleted_flag"],
            Columns("text", "favorite_count", "handle", None, "date", is_repost="repost_flag"),
        ),
    ],
)
def test_usual_names_are_recognised(found: list[str], columns: Columns) -> None:
    assert guess_columns(found) == columns


def test_the_person_can_choose_other_columns() -> None:
    content = csv_bytes([["title", "headline", "n"], ["not this", "but this", "4"]])
    (row,) = read_bytes(content, "csv", Columns(text="headline", score="n"))
    assert (row.text, row.score) == ("but this", 4.0)


def test_a_csv_file_without_a_text_column_is_refused_with_what_was_found() -> None:
    with pytest.raises(ImportRefused, match="Choose the text column") as refused:
        preview(io.BytesIO(b"id,colour\n1,red\n"), "posts.csv")
    assert refused.value.columns_found == ("id", "colour")


def test_a_json_file_without_a_text_field_is_refused_with_what_was_found() -> None:
    with pytest.raises(ImportRefused, match=r"Columns found: “id”, “data.colour”") as refused:
        preview(io.BytesIO(b'[{"id": 1, "data": {"colour": "red"}}]'), "posts.json")
    assert refused.value.columns_found == ("id", "data.colour")


@pytest.mark.parametrize(("filename", "content"), [("a.csv", b"text\npost"), ("a.jsonl", b'{"text": "post"}')])
def test_a_chosen_column_that_is_not_there_is_refused(filename: str, content: bytes) -> None:
    with pytest.raises(ImportRefused, match=r"has no column called “words” \(chosen for text\)\."):
        preview(io.BytesIO(content), filename, Columns(text="words"))


def test_a_column_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ImportRefused, match="more than one column called “text”"):
        read_bytes(b"text,text\na post,another\n", "csv")


def test_one_column_without_a_header_is_the_text() -> None:
    seen = preview(io.BytesIO(b"A first post\nAnd, with comma; a second\n"), "posts.csv")
    assert [(row.text, row.row) for row in seen.sample] == [("A first post", 1), ("And, with comma; a second", 2)]
    assert (seen.columns, seen.columns_found) == (Columns(text="#1"), ("#1",))


def test_columns_without_a_header_can_be_chosen_by_position() -> None:
    rows = read_bytes(b"7,A first post\n8,A second\n", "csv", Columns(text="#2", score="#1"))
    assert [(row.text, row.score, row.row) for row in rows] == [("A first post", 7.0, 1), ("A second", 8.0, 2)]


@pytest.mark.parametrize(
    "content",
    [
        b"text;score\nof commas, many, many;1\nand, of, them;2\n",
        b"\xef\xbb\xbftext\tscore\nof commas, many, many\t1\nand, of, them\t2\n",
        b'text, score\n"of commas, many, many", 1\n"and, of, them", 2\n',
        b"score|text\r\n1|of commas, many, many\r\n2|and, of, them",
        b"text\tscore\rof commas, many, many\t1\rand, of, them\t2\r",
    ],
)
def test_the_delimiter_is_found(content: bytes) -> None:
    rows = read_bytes(content, "csv")
    assert [(row.text, row.score) for row in rows] == [("of commas, many, many", 1.0), ("and, of, them", 2.0)]


def test_tab_separated_files_may_use_quotation_marks_as_characters() -> None:
    content = b'text\tscore\n"Hello" she said\t1\n"unclosed\t2\nplain\t3\n'
    assert texts(read_bytes(content, "csv")) == ['"Hello" she said', '"unclosed', "plain"]


def test_nested_fields_are_addressed_by_dotted_paths() -> None:
    content = jsonl_bytes(
        [{"tweet": {"full_text": "a tweet", "user": {"name": "ann"}}}, {"tweet": {"full_text": "bare"}}]
    )
    rows = read_bytes(content, "jsonl", Columns(text="tweet.full_text", author="tweet.user.name"))
    assert [(row.text, row.author) for row in rows] == [("a tweet", "ann"), ("bare", "")]


def test_fields_may_be_missing_from_the_first_records() -> None:
    content = jsonl_bytes([{"text": "first"}, {"text": "second", "likes": 3}])
    assert [row.score for row in read_bytes(content, "jsonl")] == [None, 3.0]
