"""How the engine cuts text into words and word n-grams; one definition for guards, diversity and features."""

from __future__ import annotations

import re

# Scripts written without spaces count one character as one word, else a whole sentence would be a single "word".
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+(?:['’][^\W_]+)*")

Gram = tuple[str, ...]


def words(text: str) -> list[str]:
    """Lower-cased words of `text`, punctuation dropped."""
    return _WORD.findall(text.casefold())


def ngrams(tokens: list[str], size: int) -> list[Gram]:
    """All runs of `size` words, in order; a text shorter than that is one shorter run (none when it has no words)."""
    if len(tokens) < size:
        return [tuple(tokens)] if tokens else []
    return [tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1)]
