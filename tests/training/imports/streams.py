"""Files for the tests: in memory, or made while they are read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator

from training.imports import ImportedRow, Limits, Problem, read

EVERYTHING = Limits(min_text=1)


class MadeUp(io.RawIOBase):
    """A stream of `pieces` that exist only while they are read; `given` counts the bytes handed out."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""
        self.given = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        part, self._rest = self._rest[:size], self._rest[size:]
        self.given += len(part)
        return part


def endless(piece: bytes, size: int) -> Iterator[bytes]:
    """`piece` again and again, `size` bytes in all."""
    for _ in range(size // len(piece)):
        yield piece


def csv_bytes(rows: Iterable[Iterable[str]], **dialect: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, **dialect).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue().encode()


def jsonl_bytes(values: Iterable[object], *, ascii: bool = False) -> bytes:
    return "".join(json.dumps(value, ensure_ascii=ascii) + "\n" for value in values).encode()


def read_bytes(content: bytes, format: str, *args: object) -> list[ImportedRow | Problem]:
    return list(read(io.BytesIO(content), format, *args))  # type: ignore[arg-type]


def texts(rows: Iterable[ImportedRow | Problem]) -> list[str]:
    assert all(isinstance(row, ImportedRow) for row in rows), rows
    return [row.text for row in rows if isinstance(row, ImportedRow)]
