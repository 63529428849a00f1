"""Bytes in, text out, in bounded memory: byte cap, byte order marks, and where the bytes stop being UTF-8.

Bytes that are not UTF-8 are carried as lone surrogates (PEP 383) so that one bad byte spoils one row and not the file;
the readers ask `bad_byte` about each piece of text they take.
"""

from __future__ import annotations

import codecs
import io
import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from training.imports.contract import ImportRefused, Limits

CHUNK = 65_536
LINE_END = re.compile(r"\r\n?|\n")
ESCAPED = re.compile("[\udc80-\udcff]")
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read_head(stream: BinaryIO, size: int = CHUNK) -> bytes:
    """The first `size` bytes of the stream, fewer only at its end (sockets and pipes give short reads)."""
    parts: list[bytes] = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def encoding_of(head: bytes) -> tuple[str, int]:
    """Encoding and length of the byte order mark; UTF-8 where there is none."""
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return "utf-8", 0


class Rejoined(io.RawIOBase):
    """A stream that cannot go back, with the part put back that was read to see what it is."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = head, stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._stream.read(size)
        end = len(self._head) if size < 0 else size
        part, self._head = self._head[:end], self._head[end:]
        return part


class TextSource:
    """A stream of bytes as text."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        head = read_head(stream)
        self.encoding, mark = encoding_of(head)
        errors = "surrogateescape" if self.encoding == "utf-8" else "strict"
        self._decoder = codecs.getincrementaldecoder(self.encoding)(errors)
        self._fed = mark
        self._bad: deque[int] = deque()
        self._first = self._decode(head[mark:], final=False)

    def peek(self) -> str:
        """The first piece of the text (up to 64 KiB of the file), which `chunks` will still give."""
        return self._first

    def chunks(self) -> Iterator[str]:
        """The text in pieces. Raises ImportRefused past the byte cap, and for what is not UTF-16 after its mark."""
        yield self._first
        self._first = ""
        while data := self._stream.read(CHUNK):
            yield self._decode(data, final=False)
        yield self._decode(b"", final=True)

    def lines(self) -> Iterator[str]:
        """The text by lines, each with its line end. Raises ImportRefused for a line beyond `max_line`."""
        buffer = ""
        for chunk in self.chunks():
            buffer += chunk
            start = 0
            for match in LINE_END.finditer(buffer):
                if match.end() == len(buffer) and match.group() == "\r":
                    break  # may be the first half of \r\n
                yield self._bounded(buffer[start : match.end()])
                start = match.end()
            buffer = self._bounded(buffer[start:])
        if buffer:
            yield buffer

    def bad_byte(self, text: str) -> int | None:
        """Offset of this text's first byte that was not UTF-8. To be asked once for each text, in order."""
        if not self._bad:
            return None
        count = len(ESCAPED.findall(text))
        offsets = [self._bad.popleft() for _ in range(count)]
        return offsets[0] if offsets else None

    def _bounded(self, line: str) -> str:
        if len(line) > self._limits.max_line:
            raise ImportRefused(
                f"the line is longer than {self._limits.max_line:,} characters. "
                "Check that the file has line breaks and that it is in the format its name says."
            )
        return line

    def _decode(self, data: bytes, *, final: bool) -> str:
        start = self._fed - len(self._decoder.getstate()[0])
        self._fed += len(data)
        if self._fed > self._limits.max_bytes:
            megabytes = self._limits.max_bytes / 1_000_000
            raise ImportRefused(f"the file is larger than {megabytes:g} MB. Split it and import the parts one by one.")
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise ImportRefused(
                f"the file begins as UTF-16, but byte {start + error.start} is not. Save the file as UTF-8."
            ) from error
        self._note_bad_bytes(text, start)
        return text

    def _note_bad_bytes(self, text: str, start: int) -> None:
        if self.encoding != "utf-8" or text.isascii():
            return
        done = 0
        for match in ESCAPED.finditer(text):
            start += len(text[done : match.start()].encode("utf-8", "surrogateescape"))
            done = match.start()
            self._bad.append(start)
