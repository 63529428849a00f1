"""Broken rows are problems with a row and a reason; the good rows around them are still read."""

from __future__ import annotations

import io
import json

import pytest

from tests.training.imports.streams import csv_bytes, jsonl_bytes, read_bytes
from training.imports import Columns, ImportedRow, ImportRefused, Limits, Problem, preview


def kept_and_problems(content: bytes, format: str, *args: object) -> tuple[list[str], list[Problem]]:
    outcomes = read_bytes(content, format, *args)
    kept = [outcome.text for outcome in outcomes if isinstance(outcome, ImportedRow)]
    return kept, [outcome for outcome in outcomes if isinstance(outcome, Problem)]


def only_problem(content: bytes, format: str, *args: object) -> Problem:
    kept, problems = kept_and_problems(content, format, *args)
    assert kept == ["first", "last"]
    assert len(problems) == 1
    return problems[0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("middle,1,2", "has 3 columns where the first row has 2; are quotation marks missing?"),
        ("middle", "has 1 columns where the first row has 2; are quotation marks missing?"),
        ('"middle"x,1', 'text follows a closing quotation mark; inside a cell, quotation marks must be doubled ("")'),
        ("middle,many", "the score “many” is not a number"),
        ("middle,NaN", "the score “NaN” is not a number"),
        ("middle,inf", "the score “inf” is not a number"),
        ("middle,1_000", "the score “1_000” is not a number"),
        ("middle,1e999", "the score “1e999” is not a finite number"),
        ("mid\0dle,1", "the text holds a NUL character; the file is damaged or not text"),
    ],
)
def test_a_broken_csv_row(line: str, reason: str) -> None:
    content = f"text,score\nfirst,1\n{line}\nlast,2\n".encode()
    assert only_problem(content, "csv") == Problem(3, reason)


def test_a_quotation_mark_that_is_never_closed_names_the_row_where_it_opens() -> None:
    kept, problems = kept_and_problems(b'text,score\nfirst,1\n"middle,2\nlast,3\n', "csv")
    assert kept == ["first"]
    assert [problem.row for problem in problems] == [3]
    assert "never closed" in problems[0].reason


def test_rows_are_numbered_as_a_spreadsheet_does() -> None:
    content = b'text,score\n"first\nof three\nlines",1\n\nmiddle,x\n'
    assert kept_and_problems(content, "csv") == (
        ["first\nof three\nlines"],
        [Problem(4, "the score “x” is not a number")],
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            b"{oops}",
            "not valid JSON: Expecting property name enclosed in double quotes (line 1, character 2 of this record)",
        ),
        (b"7", "is neither an object with fields nor a text"),
        (b'{"text": 7}', "the text is a number, not text"),
        (b'{"text": ["a"]}', "the text is a list, not text"),
        (b'{"text": "middle", "score": NaN}', "not valid JSON: NaN is not a number that JSON knows"),
        (b'{"text": "middle", "score": 1e999}', "the score “inf” is not a finite number"),
        (b'{"text": "middle", "score": true}', "the score is true or false, not a number"),
        (b'{"text": "middle", "score": {}}', "the score is an object, not a number"),
        (b'{"text": "mid\\u0000dle"}', "the text holds a NUL character; the file is damaged or not text"),
        (
            b'{"text": "mid\\ud83ddle"}',
            "the text holds half a character (a lone surrogate); export the file again as UTF-8",
        ),
        (b'{"text": "middle", "a": [[[[[[1]]]]]]}', "nested more than 5 levels deep"),
        (b'{"text": "middle", "author": {}}', "the author is an object, not text"),
    ],
)
@pytest.mark.parametrize("format", ["jsonl", "json"])
def test_a_broken_json_record(format: str, line: bytes, reason: str) -> None:
    first, last = b'{"text": "first", "score": 1, "author": "ann"}', b'{"text": "last"}'
    content = b"\n".join([first, line, last]) if format == "jsonl" else b"[" + b",\n".join([first, line, last]) + b"]"
    reason = reason.replace("line 1, character 2", "line 2, character 2") if format == "json" else reason
    assert only_problem(content, format, None, Limits(max_depth=5)) == Problem(2, reason)


def test_an_integer_too_large_for_a_float_is_a_problem() -> None:
    content = jsonl_bytes([{"text": "first"}, {"text": "middle", "score": 10**400}, {"text": "last"}])
    columns = Columns(text="text", score="score")
    assert only_problem(content, "jsonl", columns) == Problem(2, "the score “that number” is not a finite number")


def test_brackets_in_texts_do_not_count_as_nesting() -> None:
    content = jsonl_bytes([{"text": 'a [[[[ "{{{{ \\'}])
    assert kept_and_problems(content, "jsonl", None, Limits(max_depth=2)) == (['a [[[[ "{{{{ \\'], [])


@pytest.mark.parametrize(
    ("content", "kept", "problem"),
    [
        (b'["first", "last"', ["first"], Problem(2, "the file ends in the middle of the list")),
        (b'["first", "la', ["first"], Problem(2, "the file ends in the middle of the list")),
        (b'["first", "last",]', ["first", "last"], Problem(3, "nothing stands between two commas")),
        (b'["first",, "last"]', ["first", "last"], Problem(2, "nothing stands between two commas")),
        (b'["first", "last"] ["more"]', ["first", "last"], Problem(3, "there is more after the end of the list")),
        (b'["first" "mid", "last"]', ["last"], Problem(1, "not valid JSON: Extra data")),
    ],
)
def test_a_broken_json_list(content: bytes, kept: list[str], problem: Problem) -> None:
    found, problems = kept_and_problems(content, "json")
    assert found == kept
    assert [(one.row, one.reason[: len(problem.reason)]) for one in problems] == [(problem.row, problem.reason)]


@pytest.mark.parametrize(
    ("format", "before", "between", "after"),
    [
        ("text", b"first\n", b"mid\xe9dle", b"\nlast"),
        ("csv", b"text\nfirst\n", b"mid\xe9dle", b"\nlast"),
        ("jsonl", b'"first"\n', b'"mid\xe9dle"', b'\n"last"'),
        ("json", b'["first",', b'"mid\xe9dle"', b',"last"]'),
    ],
)
@pytest.mark.parametrize("padding", [0, 70_000])
def test_a_byte_that_is_not_utf8_spoils_its_row_and_is_named(
    format: str, before: bytes, between: bytes, after: bytes, padding: int
) -> None:
    before = "\ufeff".encode() + before.replace(b"first", "ж".encode() * (padding // 2) + b"first")
    kept, problems = kept_and_problems(before + between + after, format)
    offset = len(before) + between.index(b"\xe9")
    assert [text.lstrip("ж") for text in kept] == ["first", "last"]
    assert problems == [
        Problem(3 if format == "csv" else 2, f"byte {offset} is not valid UTF-8; save the file as UTF-8")
    ]


def test_a_file_cut_off_inside_a_character() -> None:
    kept, problems = kept_and_problems(b"first\nla\xf0\x9f\xa4", "text")
    assert kept == ["first"]
    assert problems == [Problem(2, "byte 8 is not valid UTF-8; save the file as UTF-8")]


def test_utf16_that_breaks_off_is_refused_with_row_and_byte() -> None:
    content = "first\nlast".encode("utf-16") + b"\x00\xd8"
    with pytest.raises(ImportRefused, match=r"^Row 2: the file begins as UTF-16, but byte 22 is not") as refused:
        read_bytes(content, "text")
    assert refused.value.row == 2


def test_a_broken_date_names_what_was_found() -> None:
    content = csv_bytes([["text", "date"], ["first", "2024-01-01"], ["middle", "03/04/2013"], ["last", ""]])
    assert only_problem(content, "csv") == Problem(
        3, "“03/04/2013” is not a date that can be read; write dates like 2024-08-01T12:30:00Z"
    )


def test_the_preview_is_not_ok_and_shows_the_first_fifty_problems() -> None:
    content = json.dumps(["good post", *range(60)]).encode()
    seen = preview(io.BytesIO(content), "posts.json")
    assert not seen.ok
    assert seen.importable
    assert (seen.kept, seen.problem_count, len(seen.problems)) == (1, 60, 50)
    assert seen.problems[0] == Problem(2, "is neither an object with fields nor a text")


def test_objects_among_texts_are_problems_not_lost() -> None:
    content = jsonl_bytes([*(f"post {number}" for number in range(100)), {"text": "an object"}])
    kept, problems = kept_and_problems(content, "jsonl")
    assert len(kept) == 100
    assert problems == [Problem(101, "is an object, where the first rows of the file are texts")]
