"""Reading the header of a safetensors file, and distrusting it. Format: huggingface.co/docs/safetensors."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Data types that a language model's weights come in, with the bytes of one number."""
MOST_HEADER = 4 * 2**20
"""Bytes of a header: enough for 30,000 tensors. (The format allows 100 MB, which would take a gigabyte to parse.)"""
MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Weights:
    """The shapes of a file's tensors by name."""

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def numbers(self) -> int:
        return sum(map(prod, self.shapes.values()))

    @property
    def largest_side(self) -> int:
        return max((side for shape in self.shapes.values() for side in shape), default=0)


def check(path: Path) -> Weights:
    """The tensors that a file's header names, once all is as it should be: known types, shapes that fit the bytes, and
    the bytes laid end to end over the whole file. Raises ValidationError.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise _refused("is too short to be safetensors")
        (length,) = struct.unpack("<Q", start)
        if not 2 <= length <= min(MOST_HEADER, size - 8):
            raise _refused(f"is no safetensors, or its header is longer than {MOST_HEADER:,} bytes")
        raw = file.read(length)
    header = _parsed(raw)
    header.pop("__metadata__", None)
    if not header:
        raise _refused("holds no tensors")
    spans, shapes = [], {}
    for name, told in header.items():
        shape, begin, end = _tensor(name, told)
        shapes[name] = shape
        spans.append((begin, end))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise _refused("has tensors that overlap, or bytes that belong to none")
        at = end
    if at != size - 8 - length:
        raise _refused("is not as long as its header says")
    return Weights(shapes)


def _parsed(raw: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name twice")
        return dict(pairs)

    try:
        header = json.loads(raw.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise _refused("has a header that is no JSON object") from None
    if not isinstance(header, dict):
        raise _refused("has a header that is no JSON object")
    return header


def _tensor(name: str, told: Any) -> tuple[tuple[int, ...], int, int]:
    shown = f"tensor “{name[:80]}”"
    if not isinstance(told, dict) or set(told) != {"dtype", "shape", "data_offsets"}:
        raise _refused(f"describes its {shown} in another way than safetensors does")
    item = ITEM_BYTES.get(told["dtype"]) if isinstance(told["dtype"], str) else None
    if item is None:
        raise _refused(f"has a {shown} of a type that is not taken: use one of {', '.join(ITEM_BYTES)}")
    shape, offsets = told["shape"], told["data_offsets"]
    if not _counts(shape) or len(shape) > MOST_DIMENSIONS or not _counts(offsets) or len(offsets) != 2:
        raise _refused(f"has a {shown} whose shape or place is no list of whole numbers")
    begin, end = offsets
    if end - begin != prod(shape) * item:
        raise _refused(f"has a {shown} whose bytes are not as many as its shape asks for")
    return tuple(shape), begin, end


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 2**63 for each in value)


def _refused(words: str) -> ValidationError:
    return ValidationError({"file": f"model.safetensors {words}."})
