"""Reading zips of strangers."""

from __future__ import annotations

import io
from typing import IO


class Bounded(io.RawIOBase):
    """A stream for `zipfile.ZipFile`, which reads the list of a zip's entries at once: one of more than `most` bytes
    raises `refused`, before it takes many times its own memory.
    """

    def __init__(self, file: IO[bytes], most: int, refused: Exception) -> None:
        self._file, self._most, self._refused = file, most, refused

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if size is not None and size > self._most:
            raise self._refused
        # Without a size only the end of the file is asked for, which is as short as zip allows.
        return self._file.read(self._most + 1 if size is None or size < 0 else size)
