"""Members of zip and tar.gz archives as bounded streams. Nothing is ever unpacked to the disk.

A small archive can claim to hold terabytes: what may come out of one is bounded by what was read of it.
"""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, Self, cast

from accounts.zips import open_zip
from training.imports.contract import ImportRefused, Limits

ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
SPARE_BYTES = 100_000_000
MOST_LISTED = 6_000_000
"""Bytes of a zip's list of entries: some 50,000 of them. It is read whole, and takes many times its length."""
MOST_HEADER = 1_000_000
"""Bytes of a tar header that is as long as its writer likes."""
MANY = "The archive holds more files than can be looked through. Pack only the file with the posts, and import that."
TOO_LARGE = (
    "The archive unpacks to far more than its own size, as only a faulty or a hostile one does. Export it again."
)
DAMAGED = "The archive is damaged ({problem}). Download it again."


class _Counted(io.RawIOBase):
    """A stream that counts what was read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        return data


class _Bounded(io.RawIOBase):
    """What comes out of an archive; a fault in it, or too much of it, is an ImportRefused."""

    def __init__(self, unpacked: IO[bytes], allowed: int) -> None:
        self._unpacked, self._left = unpacked, allowed

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with faults_refused():
            data = self._unpacked.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ImportRefused(TOO_LARGE)
        return data


class _Header(tarfile.TarInfo):
    """An entry of a tar archive. Long names and extended headers are read whole, whatever size they claim."""

    LONG = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in cls.LONG and found.size > MOST_HEADER:
            raise tarfile.ReadError("a header without end")
        return found

    def _proc_gnusparse_10(self, *given: object) -> None:
        """Raises ReadError: of a file with holes, a list as long as the file would be read before it is given out."""
        raise tarfile.ReadError("a file with holes")


@contextmanager
def faults_refused() -> Iterator[None]:
    """What goes wrong while an archive is read, as an ImportRefused with words for people."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, ValueError) as problem:
        raise ImportRefused(DAMAGED.format(problem=problem)) from problem
    except RuntimeError as problem:  # zipfile's word for a password
        raise ImportRefused(
            "The archive is protected by a password. Unpack it and import the file inside."
        ) from problem
    except NotImplementedError as problem:
        raise ImportRefused(
            "The archive is packed in a way that cannot be read. Pack it again as an ordinary ZIP."
        ) from problem


def names(stream: BinaryIO) -> list[str]:
    """The names of a zip archive's members. Raises ImportRefused for a damaged one."""
    with faults_refused(), _zip(stream) as archive:
        return archive.namelist()


def _zip(stream: BinaryIO) -> zipfile.ZipFile:
    return open_zip(stream, MOST_LISTED, ImportRefused(MANY))


def zip_members(stream: BinaryIO, wanted: re.Pattern[str], limits: Limits) -> Iterator[BinaryIO]:
    """The members whose names match, in the order of their numbers, each readable until the next is asked for."""
    with faults_refused():
        archive = _zip(stream)
        found = [info for info in archive.infolist() if wanted.search(info.filename)]
    for info in sorted(
        found, key=lambda info: [int(part) for part in re.findall(r"\d+", info.filename.rpartition("/")[2])]
    ):
        allowed = SPARE_BYTES + info.compress_size * limits.max_ratio
        if info.file_size > allowed:
            raise ImportRefused(TOO_LARGE)
        with faults_refused():
            member = archive.open(info)
        yield cast(BinaryIO, _Bounded(member, allowed))
        member.close()


def tar_member(stream: BinaryIO, wanted: re.Pattern[str], limits: Limits) -> BinaryIO | None:
    """The first member of a tar.gz archive whose name matches. What stands before it is read past, within bounds."""
    packed = _Counted(stream)
    with faults_refused():
        archive = tarfile.open(fileobj=packed, mode="r|gz", tarinfo=_Header)  # noqa: SIM115 - the member is read after this returns
        for info in archive:
            if info.offset_data > SPARE_BYTES + packed.count * limits.max_ratio:
                raise ImportRefused(TOO_LARGE)
            if info.isfile() and wanted.search(info.name) and (member := archive.extractfile(info)) is not None:
                return cast(BinaryIO, _Bounded(member, info.size + 1))
    return None
