"""From the raw values of a record to a post, a drop or a problem."""

from __future__ import annotations

import math
import re
import unicodedata
from hashlib import blake2b

from training.imports.contract import NO_TEXT, TOO_SHORT, Dropped, ImportedRow, Limits, Problem, RawRow, Role
from training.imports.dates import parse_date

CONTROL = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x9f]")
SURROGATE = re.compile("[\ud800-\udfff]")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


NOT = frozenset(("", "0", "f", "false", "n", "no", "none", "null"))


class RowReader:
    """Checks records one by one."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def read(self, raw: RawRow) -> ImportedRow | Dropped | Problem:
        values = raw.values
        try:
            text = clean_text(values.get("text"), "text", self._limits.max_text)
            row = ImportedRow(
                text=text,
                score=parse_score(values.get("score")),
                author=self._label(raw, "author"),
                community=self._label(raw, "community"),
                created_at=None if _blank(values.get("created_at")) else parse_date(values["created_at"]),
                row=raw.row,
                reply_to_text=clean_text(values.get("reply_to_text"), "reply_to_text", self._limits.max_text),
                topic=self._label(raw, "topic"),
                is_repost=says_yes(values.get("is_repost")),
                is_reply=says_yes(values.get("in_reply_to")),
            )
        except ValueError as error:
            return Problem(raw.row, str(error))
        return self._drop(row) or row

    def _label(self, raw: RawRow, role: Role) -> str:
        value = raw.values.get(role)
        plain = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        return clean_text(plain, role, self._limits.max_label)

    def _drop(self, row: ImportedRow) -> Dropped | None:
        if not row.text:
            return Dropped(row.row, NO_TEXT)
        if len(row.text) < self._limits.min_text:
            return Dropped(row.row, TOO_SHORT)
        return None


def clean_text(value: object, role: Role, longest: int) -> str:
    """The text as it was given, without surrounding whitespace and control characters; line ends become \\n.

    Raises ValueError for what is no text, holds a NUL or half a character, or is longer than `longest` characters.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"the {role} is {_kind(value)}, not text")
    if "\x00" in value:
        raise ValueError(f"the {role} holds a NUL character; the file is damaged or not text")
    if SURROGATE.search(value):
        raise ValueError(f"the {role} holds half a character (a lone surrogate); export the file again as UTF-8")
    text = CONTROL.sub("", value.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if len(text) > longest:
        raise ValueError(f"the {role} is {len(text):,} characters long; at most {longest:,} can be imported")
    return text


def says_yes(value: object) -> bool:
    """Whether a cell means yes: a flag as exports write it ("t", "True", 1), or something where others have nothing."""
    return bool(value) and str(value).strip().casefold() not in NOT


def parse_score(value: object) -> float | None:
    """A finite number, None for an empty value. Raises ValueError with a reason in plain words."""
    if _blank(value):
        return None
    shown = str(value)[:60] if not isinstance(value, int) or isinstance(value, bool) else "that number"
    if isinstance(value, str) and not NUMBER.fullmatch(value.strip()):
        raise ValueError(f"the score “{shown}” is not a number")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"the score is {_kind(value)}, not a number")
    try:
        score = float(value)
    except OverflowError:
        score = math.inf
    if not math.isfinite(score):
        raise ValueError(f"the score “{shown}” is not a finite number")
    return score


def fingerprint(text: str, reply_to: str = "") -> int:
    """64-bit hash of the text as people would call it the same: NFC, case folded, runs of whitespace as one space."""
    folded = "\x00".join(" ".join(part.casefold().split()) for part in (text, reply_to))
    same = unicodedata.normalize("NFC", folded)  # last, because folding can leave a decomposed character
    return int.from_bytes(blake2b(same.encode("utf-8"), digest_size=8).digest(), "big")


def _blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"
