"""Which format a file is in, from its name and its first bytes; what is not text is refused by name."""

from __future__ import annotations

import codecs
import io
import json
import re
from typing import BinaryIO, cast

from training.imports import archives
from training.imports.contract import ImportRefused
from training.imports.kinds import bluesky_car, bluesky_json, gpt2_simple, mastodon_archive, x_archive
from training.imports.registry import FORMATS
from training.imports.source import ESCAPED, Rejoined, encoding_of, read_head

ARCHIVES = (("x_archive", x_archive.TWEETS), ("mastodon", mastodon_archive.OUTBOX))
CAR_HEADER = 100

SPREADSHEET = "Open it in a spreadsheet program and save the sheet as CSV (UTF-8)."
UNPACK = "Unpack it and import the file inside."
MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive or an Excel/OpenDocument file", f"{UNPACK} {SPREADSHEET}"),
    (b"PK\x05\x06", "an empty ZIP archive", UNPACK),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file", SPREADSHEET),
    (b"\x1f\x8b", "compressed with gzip", UNPACK),
    (b"BZh", "compressed with bzip2", UNPACK),
    (b"\xfd7zXZ", "compressed with xz", UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"%PDF", "a PDF document", "Copy its text into a plain text or CSV file."),
    (b"PAR1", "a Parquet file", "Export it as CSV or JSON Lines."),
    (b"SQLite format 3\x00", "an SQLite database", "Export the table as CSV."),
    (b"\x89PNG", "an image", "Choose a file with text."),
    (b"\xff\xd8\xff", "an image", "Choose a file with text."),
    (b"GIF8", "an image", "Choose a file with text."),
    (b"\x7fELF", "a program", "Choose a file with text."),
    (b"\x93NUMPY", "a NumPy file", "Export it as CSV or JSON Lines."),
    (codecs.BOM_UTF32_LE, "text in UTF-32", "Save the file as UTF-8."),
    (codecs.BOM_UTF32_BE, "text in UTF-32", "Save the file as UTF-8."),
)
# The first opcodes of protocols 2 to 5, of a list or dict in 0 and 1, and of a function or class in 0 and 1.
PICKLE = re.compile(rb"\x80[\x02-\x05]|\([ld]p\d+\n|[}\]]q\x00|c[\w.]+\n\w+\n(?:p\d+\n|q\x00)")
CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
NOT_TEXT_SHARE = 0.2


def detect(stream: BinaryIO, filename: str) -> tuple[str, BinaryIO]:
    """Name of the format in `FORMATS`, and the stream as it stood before. An archive is told by what it holds.

    Raises ImportRefused as `detect_format` does, and for a damaged archive.
    """
    head = read_head(stream)
    if not stream.seekable():
        return detect_format(filename, head), cast(BinaryIO, Rejoined(head, stream))
    stream.seek(-len(head), io.SEEK_CUR)
    start = stream.tell()
    format = None
    if head.startswith(archives.ZIP):
        held = archives.names(stream)
        format = next((name for name, member in ARCHIVES if any(member.search(each) for each in held)), None)
    elif head.startswith(archives.GZIP) and filename.lower().endswith((".tar.gz", ".tgz")):
        format = "mastodon"
    stream.seek(start)
    return format or detect_format(filename, head), stream


def detect_format(filename: str, head: bytes) -> str:
    """Name of the format in `FORMATS`. `head`: the first bytes of the file, 64 KiB or all of it.

    Raises ImportRefused for an empty file, an unknown ending, and anything that is not text: archives, spreadsheets,
    pickles, images, UTF-16 without its mark.
    """
    if bluesky_car.MARK in head[:CAR_HEADER]:
        return "bluesky_car"
    _refuse_known_binaries(head)
    encoding, mark = encoding_of(head)
    errors = "surrogateescape" if encoding == "utf-8" else "ignore"
    text = codecs.getincrementaldecoder(encoding)(errors).decode(head[mark:])
    if not text.strip():
        raise ImportRefused("The file is empty. Choose a file with at least one post.")
    _refuse_noise(text, mark)
    if by_content := _platform(text.lstrip(), filename.lower()):
        return by_content
    name = filename.lower()
    found = next((key for key, entry in FORMATS.items() if name.endswith(entry.endings)), None)
    if found is None:
        endings = ", ".join(ending for entry in FORMATS.values() for ending in entry.endings)
        raise ImportRefused(f"The file's ending does not say what it is. Files that can be imported end in {endings}.")
    if found in ("x_archive", "bluesky_car"):
        raise ImportRefused(
            f"The file's ending says “{FORMATS[found].label}”, but it begins differently. Export it again."
        )
    return _json_kind(text.lstrip()) if found in ("json", "jsonl") else found


def _platform(text: str, filename: str) -> str | None:
    """The format of a platform, told by the fields that only it has."""
    if text.startswith("window.YTD.tweet"):
        return "x_archive"
    if filename.endswith(FORMATS["text"].endings):
        return "gpt2_simple" if gpt2_simple.END in text else None
    begins_as = text[:2000]
    if "isRetweet" in begins_as and "isDeleted" in begins_as:
        return "trump_archive"
    if not text.startswith(("{", "[")):
        return None
    if '"orderedItems"' in text and '"OrderedCollection"' in text:
        return "mastodon"
    if f'"{bluesky_json.POST}"' in text:
        return "bluesky_json"
    comment = all(f'"{name}"' in text for name in ("parent_id", "link_id", "body", "subreddit"))
    submission = all(f'"{name}"' in text for name in ("selftext", "subreddit", "permalink", "title"))
    return "reddit_dump" if comment or submission else None


def _refuse_known_binaries(head: bytes) -> None:
    for magic, what, advice in MAGIC:
        if head.startswith(magic):
            raise ImportRefused(f"This file is {what}, not text. {advice}")
    if PICKLE.match(head):
        raise ImportRefused(
            "This file is a Python pickle, which can run code when it is opened. Export the data as CSV or JSON Lines."
        )


def _refuse_noise(text: str, mark: int) -> None:
    """Many control characters or bytes outside UTF-8: no row of such a file could be trusted."""
    foreign = ESCAPED.findall(text)
    if len(foreign) + len(CONTROL.findall(text)) <= NOT_TEXT_SHARE * len(text):
        return
    if not foreign:
        raise ImportRefused("This file is not text (or is UTF-16 without a byte order mark). Save the file as UTF-8.")
    before = text[: text.index(foreign[0])]
    offset = mark + len(before.encode("utf-8"))
    raise ImportRefused(
        f"This file is not text in UTF-8: byte {offset} is the first that is not. Save the file as UTF-8.",
        row=before.count("\n") + 1,
    )


def _json_kind(text: str) -> str:
    """JSON and JSON Lines are told apart by what is inside: many programs write JSON Lines into files called .json."""
    if text.startswith("["):
        return "json"
    first, line_end, _ = text.partition("\n")
    try:
        json.loads(first)
    except ValueError:
        if text.startswith("{") and line_end and first.strip() == "{":
            raise ImportRefused(
                "The file is one JSON object. Export a JSON list of posts ([…]) or JSON Lines (one object a line).",
                row=1,
            ) from None
    except RecursionError:
        pass  # too deep to look into here; the reader reports the row
    return "jsonl"
