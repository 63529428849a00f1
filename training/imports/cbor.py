"""DAG-CBOR (RFC 8949, in the subset of IPLD): bytes in, plain values out. Links become `Link`."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

MOST_DEPTH = 64
SIMPLE = {20: False, 21: True, 22: None, 23: None}
SIZES = {24: ">B", 25: ">H", 26: ">I", 27: ">Q"}


@dataclass(frozen=True)
class Link:
    """A content identifier, as its bytes."""

    cid: bytes


def decode(data: bytes) -> Any:
    """The value. Raises ValueError for what is cut off, nested too deep or outside of DAG-CBOR."""
    value, end = _value(data, 0, 0)
    if end != len(data):
        raise ValueError("more follows the value")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > MOST_DEPTH:
        raise ValueError("nested too deep")
    if at >= len(data):
        raise ValueError("cut off")
    major, info = data[at] >> 5, data[at] & 31
    if major == 7:
        return _simple(data, at + 1, info)
    number, at = _number(data, at + 1, info)
    if major in (0, 1):
        return (number if major == 0 else -1 - number), at
    if major in (2, 3):
        raw = _bytes(data, at, number)
        return (raw if major == 2 else raw.decode("utf-8")), at + number
    if number > len(data) - at and major in (4, 5):
        raise ValueError("cut off")
    if major == 4:
        items = []
        for _ in range(number):
            item, at = _value(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        return _map(data, at, number, depth)
    if number != 42:
        raise ValueError(f"tag {number} is not of DAG-CBOR")
    inner, at = _value(data, at, depth + 1)
    if not isinstance(inner, bytes):
        raise ValueError("a link is not bytes")
    return Link(inner[1:]), at


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    for _ in range(count):
        name, at = _value(data, at, depth + 1)
        if not isinstance(name, str):
            raise ValueError("a field's name is not text")
        found[name], at = _value(data, at, depth + 1)
    return found, at


def _simple(data: bytes, at: int, info: int) -> tuple[Any, int]:
    if info in SIMPLE:
        return SIMPLE[info], at
    if info == 27:
        return struct.unpack(">d", _bytes(data, at, 8))[0], at + 8
    raise ValueError(f"simple value {info} is not of DAG-CBOR")


def _number(data: bytes, at: int, info: int) -> tuple[int, int]:
    if info < 24:
        return info, at
    if info not in SIZES:
        raise ValueError("of unknown length")
    size = struct.calcsize(SIZES[info])
    return struct.unpack(SIZES[info], _bytes(data, at, size))[0], at + size


def _bytes(data: bytes, at: int, count: int) -> bytes:
    if at + count > len(data):
        raise ValueError("cut off")
    return data[at : at + count]
