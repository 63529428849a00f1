from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile

import pytest

from training.imports import FORMATS, ImportRefused, detect_format


def a_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return out.getvalue()


@pytest.mark.parametrize(
    ("filename", "head", "format"),
    [
        ("posts.csv", b"text\nhello\n", "csv"),
        ("POSTS.TSV", b"text\thello\n", "csv"),
        ("posts.json", b' \n[{"text": "a"}]', "json"),
        ("posts.json", b'{"text": "a"}\n{"text": "b"}\n', "jsonl"),
        ("posts.jsonl", b'{"text": "a"}\n', "jsonl"),
        ("posts.ndjson", b'["a", "b"]', "json"),
        ("posts.txt", "\ufeffhello".encode(), "text"),
        ("posts.txt", "hello".encode("utf-16"), "text"),
        ("posts.txt", "caf\u00e9 in a file that is mostly readable".encode("latin-1"), "text"),
        ("posts.txt", ("x" * 65_535 + "ж").encode()[:65_536], "text"),
    ],
)
def test_a_format_is_found_by_ending_and_content(filename: str, head: bytes, format: str) -> None:
    assert detect_format(filename, head) == format


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [{"text": ["a post"]}, ["a post"], os.path.join])
def test_a_pickle_is_refused_whatever_it_is_called(protocol: int, value: object) -> None:
    with pytest.raises(ImportRefused, match="Python pickle"):
        detect_format("posts.csv", pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (a_zip(), "ZIP archive or an Excel"),
        (gzip.compress(b"text"), "compressed with gzip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        ("text".encode("utf-32"), "UTF-32"),
        ("text, score".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (bytes(range(256)) * 4, "not text in UTF-8: byte 128 is the first that is not"),
        ("первый\nвторой".encode("cp1251"), "not text in UTF-8: byte 0 is the first"),
        (b"", "The file is empty"),
        (b" \r\n\t", "The file is empty"),
    ],
    ids=["zip", "gzip", "xls", "pdf", "parquet", "png", "utf-32", "utf-16", "binary", "cp1251", "empty", "blank"],
)
@pytest.mark.parametrize("filename", ["posts.csv", "posts.json", "posts.txt"])
def test_what_is_not_text_is_refused_by_name(filename: str, head: bytes, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        detect_format(filename, head)


def test_foreign_bytes_are_refused_with_their_row() -> None:
    with pytest.raises(ImportRefused, match=r"^Row 2: .* byte 3 is") as refused:
        detect_format("posts.txt", b"ok\n\xef\xf0\xe8\xe2\xe5\xf2\n")
    assert refused.value.row == 2


def test_an_unknown_ending_is_refused_with_the_known_ones() -> None:
    endings = r"\.csv, \.tsv, \.json, \.jsonl, \.ndjson, \.txt, \.text, \.js, \.car\."
    with pytest.raises(ImportRefused, match=f"end in {endings}"):
        detect_format("posts.docx", b"text")


def test_one_json_object_over_many_lines_is_refused() -> None:
    with pytest.raises(ImportRefused, match="one JSON object"):
        detect_format("posts.json", b'{\n  "posts": []\n}')


def test_texts_that_only_resemble_pickles_are_read() -> None:
    for head in (b"can we talk about this\nplease", b"(lp is my band", b"list of things", b"cat\ndog\nbird\n"):
        assert detect_format("posts.txt", head) == "text"


@pytest.mark.parametrize("name", FORMATS)
def test_every_entry_can_be_loaded_and_has_endings_of_its_own(name: str) -> None:
    entry = FORMATS[name]
    assert callable(entry.load())
    assert entry.label
    others = {ending for other, one in FORMATS.items() if other != name for ending in one.endings}
    assert set(entry.endings).isdisjoint(others)
    assert all(ending.startswith(".") and ending == ending.lower() for ending in entry.endings)
