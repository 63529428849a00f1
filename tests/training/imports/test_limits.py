"""Caps hold, and reading stops where they are exceeded instead of when memory is."""

from __future__ import annotations

import io
import tracemalloc
from itertools import chain

import pytest

from tests.training.imports.streams import MadeUp, endless, jsonl_bytes, read_bytes
from training.imports import ImportRefused, Limits, Problem, preview, read

GIGABYTE = 1_000_000_000


@pytest.mark.parametrize(
    ("name", "start", "piece"),
    [
        ("one_line.txt", b"good post\n", b"x" * 65_536),
        ("one_line.csv", b"text\ngood post\n", b"x" * 65_536),
        ("one_line.jsonl", b'"good post"\n"', b"x" * 65_536),
        ("one_text.json", b'["good post", "', b"x" * 65_536),
        ("one_element.json", b'["good post", ', b"[               " * 4096),
        ("backslashes.json", b'["good post", "', b"\\" * 65_536),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_gigabyte_without_an_end_is_refused_in_bounded_memory(name: str, start: bytes, piece: bytes) -> None:
    stream = MadeUp(chain([start], endless(piece, GIGABYTE)))
    tracemalloc.start()
    try:
        with pytest.raises(ImportRefused, match="longer than 1,000,000 characters") as refused:
            preview(stream, name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.row == (3 if name.endswith(".csv") else 2)
    assert stream.given < 2_000_000
    assert peak < 16_000_000


def test_a_quotation_mark_left_open_in_a_long_file_is_refused_with_its_row() -> None:
    stream = MadeUp(chain([b'text\ngood post\n"'], endless(b"many short lines\n" * 4000, GIGABYTE)))
    with pytest.raises(ImportRefused, match=r"^Row 3: a cell is longer than the 131,072 characters"):
        preview(stream, "posts.csv")
    assert stream.given < 500_000


def test_a_csv_row_of_many_lines_is_bounded_too() -> None:
    stream = MadeUp(chain([b"text\ngood post\n"], endless(b'"a\nb",' * 4000, GIGABYTE)))
    with pytest.raises(ImportRefused, match=r"^Row 3: the row is longer than 1,000,000 characters"):
        preview(stream, "posts.csv")
    assert stream.given < 2_000_000


def test_a_long_file_is_read_in_bounded_memory() -> None:
    stream = MadeUp(
        chain([b"["], endless(b'{"text": "the same post' + b" again" * 300 + b'"},', 5_000_000), [b'"last"]'])
    )
    tracemalloc.start()
    try:
        seen = preview(stream, "posts.json")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (seen.kept, seen.ok) == (2, True)
    assert peak < 3_000_000


def test_the_byte_cap() -> None:
    stream = MadeUp(endless(b"a post like any other\n", GIGABYTE))
    with pytest.raises(ImportRefused, match="the file is larger than 1 MB"):
        list(read(stream, "text", None, Limits(max_bytes=1_000_000)))
    assert stream.given < 1_200_000


def test_a_file_of_exactly_the_caps_is_read() -> None:
    content = b"post one\npost two"
    assert len(read_bytes(content, "text", None, Limits(max_bytes=len(content), max_rows=2, max_line=9))) == 2


def test_the_row_cap_names_the_row() -> None:
    with pytest.raises(ImportRefused, match=r"^Row 3: the file has more than 2 rows"):
        read_bytes(b"post one\npost two\npost three\n", "text", None, Limits(max_rows=2))


def test_the_column_cap_of_csv() -> None:
    with pytest.raises(ImportRefused, match=r"^Row 1: the file has 201 columns; at most 200"):
        read_bytes(b"text" + b",x" * 200 + b"\n", "csv")


def test_the_column_cap_of_json() -> None:
    wide = {"text": "post"} | {f"field{number}": 1 for number in range(200)}
    content = jsonl_bytes([{"text": "good post"}, wide])
    assert read_bytes(content, "jsonl")[1:] == [Problem(2, "has 201 fields; at most 200 can be read")]


def test_deep_nesting_is_a_problem_and_not_a_crash() -> None:
    deep = b'{"text": "deep", "a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    for content, format in ((b'["good post", ' + deep + b"]", "json"), (b'"good post"\n' + deep, "jsonl")):
        assert read_bytes(content, format)[1:] == [Problem(2, "nested more than 20 levels deep")]


def test_deep_nesting_in_the_first_line_does_not_crash_detection() -> None:
    seen = preview(io.BytesIO(b"[" * 60_000), "posts.json")
    assert (seen.kept, seen.problem_count) == (0, 1)
    seen = preview(io.BytesIO(b'{"a":' * 10_000 + b'1\n"good post"'), "posts.json")
    assert (seen.kept, seen.problem_count) == (1, 1)


def test_texts_and_labels_have_their_longest() -> None:
    content = jsonl_bytes([{"text": "x" * 11}, {"text": "good post", "author": "a" * 5}])
    assert read_bytes(content, "jsonl", None, Limits(max_text=10, max_label=4)) == [
        Problem(1, "the text is 11 characters long; at most 10 can be imported"),
        Problem(2, "the author is 5 characters long; at most 4 can be imported"),
    ]
