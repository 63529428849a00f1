"""Reading zips of strangers."""

from __future__ import annotations

import io
import zipfile
from typing import IO, cast


def open_zip(file: IO[bytes], most_listed: int, refused: Exception) -> zipfile.ZipFile:
    """A zip whose list of entries has at most so many bytes; raises `refused` for a longer one before it is read, since
    it takes many times its own memory. Raises what `zipfile` raises for what is no zip.
    """
    bounded = _Bounded(file, most_listed, refused)
    archive = zipfile.ZipFile(cast(IO[bytes], bounded))
    bounded.lift()
    return archive


class _Bounded(io.RawIOBase):
    """A stream that refuses to be read in larger pieces than `most`, until that is lifted."""

    def __init__(self, file: IO[bytes], most: int, refused: Exception) -> None:
        self._file, self._most, self._refused = file, most, refused
        self._lifted = False

    def lift(self) -> None:
        self._lifted = True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        if self._lifted:
            return self._file.read(-1 if size is None else size)
        if size is not None and size > self._most:
            raise self._refused
        # Without a size only the end of the file is asked for, which is as short as zip allows.
        return self._file.read(self._most + 1 if size is None or size < 0 else size)
