"""A Bluesky account's repository as a CAR file (`com.atproto.sync.getRepo`, “Export my data”): posts among its blocks.

CAR v1 (ipld.io): each section is its length as a varint, a content identifier and the block; blocks are DAG-CBOR. The
commit names the account; it is usually the first block. Likes are other people's records, and not in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from training.imports import cbor
from training.imports.contract import Columns, ImportRefused, Limits, Problem, Table
from training.imports.kinds.bluesky_json import POST, post
from training.imports.kinds.platform_records import Record, table
from training.imports.source import read_head

LARGEST_BLOCK = 4_000_000
LONGEST_VARINT = 10
MARK = b"eroots"
"""What the header of every CAR v1 file holds: a field of five letters called roots."""


def open_bluesky_car(stream: BinaryIO, columns: Columns | None, limits: Limits) -> Table:
    """Posts as records, numbered by their block; a chosen column has no meaning here and is ignored."""
    return table(_records(stream, limits))


def _records(stream: BinaryIO, limits: Limits) -> Iterator[Record]:
    if (header := _section(stream, 0)) is None or MARK not in header:
        raise ImportRefused("The file does not begin as a CAR file of version 1. Export your data from Bluesky again.")
    author = ""
    row = read = 0
    while (section := _section(stream, row + 1)) is not None:
        row, read = row + 1, read + len(section)
        if read > limits.max_bytes:
            raise ImportRefused(f"the file is larger than {limits.max_bytes / 1_000_000:g} MB.", row=row)
        try:
            value = cbor.decode(section[_identifier_length(section) :])
        except (ValueError, IndexError) as error:
            yield Problem(row, f"a block that cannot be read: {error}")
            continue
        if not isinstance(value, dict):
            continue
        if "sig" in value and isinstance(value.get("did"), str):
            author = value["did"]
        elif value.get("$type") == POST:
            yield post(row, value, author)


def _section(stream: BinaryIO, row: int) -> bytes | None:
    """The next section, None at the end of the file."""
    length = _varint(stream, row)
    if length is None:
        return None
    if length > LARGEST_BLOCK:
        raise ImportRefused("a block is larger than any of Bluesky's. Is this an export of Bluesky?", row=row)
    data = read_head(stream, length)
    if len(data) < length:
        raise ImportRefused("the file was cut off here. Export it again.", row=row)
    return data


def _varint(stream: BinaryIO, row: int) -> int | None:
    value = 0
    for place in range(LONGEST_VARINT):
        byte = stream.read(1)
        if not byte:
            if place == 0:
                return None
            raise ImportRefused("the file was cut off here. Export it again.", row=row)
        value |= (byte[0] & 127) << (7 * place)
        if byte[0] < 128:
            return value
    raise ImportRefused("a length that cannot be read; the file is damaged. Export it again.", row=row)


def _identifier_length(section: bytes) -> int:
    """How long the content identifier is: version and codec, then the hash with its kind and length, one byte each."""
    return 4 + section[3]
