"""Words and phrases that somebody does not want: whole words, whatever their capitals."""

from __future__ import annotations

import re
from collections.abc import Sequence

from training.imports.contract import ImportedRow
from training.imports.filters import Check


def blocklist(words: Sequence[str]) -> Check:
    if not words:
        return lambda row: None
    longest_first = sorted(words, key=len, reverse=True)
    phrases = (r"\s+".join(map(re.escape, word.split())) for word in longest_first)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE)

    def check(row: ImportedRow) -> str | None:
        found = pattern.search(row.text)
        return f"holds “{found.group()}”" if found else None

    return check
