"""Files that somebody made to do harm: each small, or made while it is written, and none of it ever whole in memory."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

MB = 1_000_000
TWEETS = "data/tweets.js"


def _zip(path: Path, entries: dict[str, bytes], **how: object) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def _repeated(path: Path, start: bytes, piece: bytes, size: int) -> None:
    """A file of that size, written piece by piece; what is zeros takes no room on the disk."""
    with path.open("wb") as file:
        file.write(start)
        if piece == b"\0":
            file.truncate(size)
            return
        block = piece * (MB // len(piece))
        for _ in range(size // len(block)):
            file.write(block)


def _zeros_zip(path: Path, name: str, size: int, start: bytes = b"") -> None:
    """An entry of `size` spaces, written in pieces: a hundredth of that in the zip, or less."""
    packer = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with packer as archive, archive.open(name, "w") as entry:
        entry.write(start)
        for _ in range(size // MB):
            entry.write(b" " * MB)


def _many_entries(path: Path, count: int) -> None:
    """A zip whose list of entries is long, and whose entries are all the same empty file."""
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    size = len(entry) * count
    with path.open("wb") as file:
        file.write(local)
        for _ in range(count // 10_000):
            file.write(entry * 10_000)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65_535, 65_535, size, len(local), 0))


def _tar(path: Path, header: tarfile.TarInfo, size: int) -> None:
    """A tar.gz with one entry that claims `size` bytes, all of them there."""
    header.size = size
    packer = zlib.compressobj(1, wbits=31)
    with path.open("wb") as file:
        file.write(packer.compress(header.tobuf(tarfile.GNU_FORMAT)))
        for _ in range(size // MB):
            file.write(packer.compress(b"a" * MB))
        file.write(packer.flush())


def _header(name: str, kind: bytes = tarfile.REGTYPE, **more: str) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type = kind
    for field, value in more.items():
        setattr(found, field, value)
    return found


def _links(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(_header("outbox.json", tarfile.SYMTYPE, linkname="/etc/passwd"))
        archive.addfile(_header("../../outbox.json", tarfile.LNKTYPE, linkname="/etc/passwd"))


def _zip_link(path: Path) -> None:
    info = zipfile.ZipInfo(TWEETS)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")


def _nested(path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(TWEETS, b" " * (10 * MB))
    _zip(path, {f"{number}.zip": inner.getvalue() for number in range(20)} | {TWEETS: inner.getvalue()})


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"text": ["a"] * 1000}))


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


DATASETS: dict[str, Callable[[Path], object]] = {
    "pickle.csv": _pickled,
    "pickle.txt": _pickled,
    "zeros.txt": lambda path: _repeated(path, b"", b"\0", 1000 * MB),
    "one_line.txt": lambda path: _repeated(path, b"", b"a", 100 * MB),
    "one_line_of_zeros.csv": lambda path: _repeated(path, b"text\n" + b"a" * 70_000, b"\0", 1000 * MB),
    "one_line_of_zeros.jsonl": lambda path: _repeated(path, b'"' + b"a" * 70_000, b"\0", 1000 * MB),
    "one_line_of_zeros.json": lambda path: _repeated(path, b'["' + b"a" * 70_000, b"\0", 1000 * MB),
    "columns.csv": _bytes(b"text" + b",a" * MB + b"\n" + b"b" + b",c" * MB),
    "columns.jsonl": lambda path: path.write_text(json.dumps({"text": "a"} | {f"c{n}": n for n in range(60_000)})),
    "nesting.json": lambda path: _repeated(path, b"[", b"[", 10 * MB),
    "nesting.jsonl": lambda path: _repeated(path, b"", b'{"text":', 10 * MB),
    "quotes.csv": _bytes(b"text\n" + b'"' * (10 * MB)),
    "quoted_cell.csv": _bytes(b'text\na\n"' + b"many short lines\n" * 600_000),
    "utf16_without_mark.txt": _bytes("a post\n".encode("utf-16-le") * 1000),
    "latin1.csv": _bytes(b"text\n" + b"\xe9\xe8\xe0\xfc" * 1000),
    "utf32.csv": _bytes("text\na post\n".encode("utf-32")),
    "zeros.csv": _bytes(b"text\n" + b"a\0\n" * 100),
    "bomb.zip": lambda path: _zeros_zip(path, TWEETS, 300 * MB, b"window.YTD.tweets.part0 = ["),
    "nested.zip": _nested,
    "entries.zip": lambda path: _many_entries(path, MB),
    "link.zip": _zip_link,
    "upwards.zip": lambda path: _zip(path, {"../../etc/" + TWEETS: b"x", "/etc/passwd": b"x"}),
    "not_the_size_it_says.zip": lambda path: path.write_bytes(_lying()),
    "links.tar.gz": _links,
    "long_name.tar.gz": lambda path: _tar(path, _header("a", tarfile.GNUTYPE_LONGNAME), 200 * MB),
    "long_header.tar.gz": lambda path: _tar(path, _header("a", tarfile.XHDTYPE), 200 * MB),
    "bomb.tar.gz": lambda path: _tar(path, _header("avatar.png"), 150 * MB),
    "bomb.txt.gz": lambda path: path.write_bytes(gzip.compress(b" " * (50 * MB))),
}
"""Name as it is uploaded → what writes it. None of them may become a dataset that can be imported."""


def _lying() -> bytes:
    """A zip whose entry says that it is small when it is unpacked."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(TWEETS, b"window.YTD.tweets.part0 = [" + b" " * (20 * MB))
    size = struct.pack("<L", 20 * MB + 27)
    return held.getvalue().replace(size, struct.pack("<L", 100))
