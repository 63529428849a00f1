"""Words and phrases that somebody does not want: whole words, whatever their capitals."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from training.imports.contract import ImportedRow
from training.imports.filters import Check

WORD = re.compile(r"\w+")


def blocklist(words: Sequence[str]) -> Check:
    """Single words, of which there may be thousands, are looked up; all others are searched for."""
    single: dict[str, list[str]] = defaultdict(list)
    others: list[str] = []
    for word in words:
        if WORD.fullmatch(word):
            single[_key(word)].append(word)
        else:
            others.append(word)
    phrases = (r"\s+".join(map(re.escape, other.split())) for other in sorted(others, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE) if others else None

    def check(row: ImportedRow) -> str | None:
        phrase = pattern.search(row.text) if pattern else None
        end = phrase.start() if phrase else len(row.text)
        for word in WORD.finditer(row.text, 0, end):
            if any(_same(listed, word.group()) for listed in single.get(_key(word.group()), ())):
                return f"holds “{word.group()}”"
        return f"holds “{phrase.group()}”" if phrase else None

    return check


def _key(word: str) -> str:
    """The same for all words that differ in capitals alone, and for a few that differ in more ("ss" and "ß")."""
    return word.replace("İ", "i").replace("ı", "i").casefold()


def _same(listed: str, word: str) -> bool:
    return re.fullmatch(re.escape(listed), word, re.IGNORECASE) is not None
