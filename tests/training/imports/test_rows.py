from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from tests.training.imports.streams import csv_bytes, jsonl_bytes, read_bytes, texts
from training.imports import ImportedRow, Limits, preview
from training.imports.dates import parse_date

MOMENT = datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2018-10-10T20:19:24Z",
        "2018-10-10T20:19:24+00:00",
        "2018-10-10 20:19:24",
        "2018-10-10 22:19:24 +0200",
        "2018-10-10 20:19:24 UTC",
        "20181010T201924Z",
        "1539202764",
        "1539202764000",
        "1539202764.0",
        1539202764,
        1539202764.0,
        1539202764000,
        1539202764000000,
        "Wed Oct 10 20:19:24 +0000 2018",
        "Wed Oct 10 22:19:24 +0200 2018",
        "Wed, 10 Oct 2018 20:19:24 +0000",
        "Wed, 10 Oct 2018 15:19:24 EST",
        "10 Oct 2018 20:19:24 GMT",
        " 2018-10-10T20:19:24 ",
    ],
)
def test_dates_are_read_in_the_usual_forms(value: object) -> None:
    moment = parse_date(value)
    assert moment == MOMENT
    assert moment.tzinfo is UTC


def test_a_day_alone_is_its_midnight() -> None:
    midnight = datetime(2018, 10, 10, tzinfo=UTC)
    assert [parse_date("2018-10-10"), parse_date("20181010")] == [midnight, midnight]


@pytest.mark.parametrize(
    "value",
    ["yesterday", "03/04/2013", "2018-13-01", "-5", -5, float("nan"), float("inf"), 1e30, True, [],
     "Wed Foo 10 20:19:24 +0000 2018",
     "0001-01-01T00:00:00+10:00", "١٢٣٤", "99999999999999999999999"],
)  # fmt: skip
def test_other_dates_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a date that can be read"):
        parse_date(value)


def test_a_whole_row() -> None:
    content = csv_bytes(
        [
            ["text", "likes", "user", "subreddit", "created_at", "parent_text"],
            ["  a reply ", " 12 ", "ann", "books", "2018-10-10T20:19:24Z", "a question"],
            ["bare post", "", "", "", "", ""],
        ]
    )
    assert read_bytes(content, "csv") == [
        ImportedRow("a reply", 12.0, "ann", "books", MOMENT, 2, "a question"),
        ImportedRow("bare post", None, "", "", None, 3, ""),
    ]


def test_labels_that_are_numbers_become_text() -> None:
    (row,) = read_bytes(jsonl_bytes([{"text": "post", "author": 42}]), "jsonl")
    assert row.author == "42"


def test_control_characters_go_and_line_ends_become_one_kind() -> None:
    content = jsonl_bytes([{"text": "\x07bell\r\nnext\rlast\ttab\x85\x1b[0m\u200d\u202e"}])
    assert texts(read_bytes(content, "jsonl")) == ["bell\nnext\nlast\ttab[0m\u200d\u202e"]


def test_drops_are_counted_by_reason() -> None:
    posts = [
        "Café  Society",
        "",
        "   ",
        "x",
        "CAFE\u0301 society",
        "caf\u00e9\nsociety",
        "cafe society",
        "Straße",
        "STRASSE",
    ]
    seen = preview(io.BytesIO(csv_bytes([["text", "id"], *([post, "1"] for post in posts)])), "posts.csv")
    assert [row.text for row in seen.sample] == ["Café  Society", "cafe society", "Straße"]
    assert (seen.kept, seen.dropped, seen.problem_count) == (3, {"no text": 2, "too short": 1}, 0)
    assert [(report.name, report.dropped) for report in seen.filters] == [("duplicates", 3)]
    assert seen.ok


def test_null_and_blank_lines_are_drops() -> None:
    seen = preview(io.BytesIO(b'{"text": "post"}\n\nnull\n{"text": null}\n{"other": 1}\n'), "posts.jsonl")
    assert (seen.kept, seen.dropped, seen.ok) == (1, {"no text": 4}, True)


def test_the_same_answer_to_another_post_is_not_a_duplicate() -> None:
    rows = [{"text": "Yes!", "parent_text": parent} for parent in ("Ready?", "Hungry?", "ready?")]
    assert [row.row for row in read_bytes(jsonl_bytes(rows), "jsonl")] == [1, 2]


def test_the_shortest_text_can_be_chosen() -> None:
    assert texts(read_bytes(b"one\nfour\n", "text", None, Limits(min_text=4))) == ["four"]


def test_a_preview_of_a_good_file() -> None:
    rows = [[f"post number {number}", str(number)] for number in range(25)]
    seen = preview(io.BytesIO(csv_bytes([["text", "score"], *rows])), "posts.csv")
    assert (seen.format, seen.kept, len(seen.sample), seen.has_scores, seen.ok) == ("csv", 25, 10, True, True)
    assert seen.columns_found == ("text", "score")
    assert seen.sample[0] == ImportedRow("post number 0", 0.0, "", "", None, 2)


def test_a_preview_without_scores() -> None:
    assert not preview(io.BytesIO(b"text,score\na post,\n"), "posts.csv").has_scores


def test_a_file_with_nothing_to_keep_is_not_ok() -> None:
    seen = preview(io.BytesIO(b"[]"), "posts.json")
    assert (seen.kept, seen.problem_count, seen.ok, seen.importable) == (0, 0, False, False)
