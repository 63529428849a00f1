"""Text cut into words for comparing, with the usual disguises of a word taken off."""

from __future__ import annotations

import re
import unicodedata

# Written without spaces: one character counts as one word.
WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W_]+(?:['’][^\W_]+)*")
DISGUISED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[\w@$!|]+(?:['’]\w+)*")
# Digits and signs that stand for letters, and Cyrillic and Greek letters that look like Latin ones.
LOOK_ALIKES = str.maketrans("013457@$!|асеорхіуκαορν", "oieastasiiaceopxiykaopv")


def words(text: str) -> list[str]:
    """Words in lower case, punctuation dropped."""
    return WORD.findall(text.casefold())


def grams(tokens: list[str], size: int) -> list[tuple[str, ...]]:
    """All runs of `size` words; a shorter text is one shorter run, and a text without words none."""
    if len(tokens) < size:
        return [tuple(tokens)] if tokens else []
    return [tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1)]


def plain(text: str) -> str:
    """Compatibility forms, accents, invisible characters and case taken off: “Ｎａï\u200bve” → “naive”."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if unicodedata.category(char) not in ("Mn", "Cf")).casefold()


def undisguised(text: str) -> list[str]:
    """Words as a reader hears them: look-alikes replaced, and letters that were spaced out (“b a d”) put together."""
    tokens = [_heard(token) for token in DISGUISED.findall(plain(text))]
    joined: list[str] = []
    letters: list[str] = []
    for token in [*tokens, "  "]:
        if len(token) == 1:
            letters.append(token)
            continue
        joined += ["".join(letters)] if len(letters) > 2 else letters
        letters = []
        joined.append(token)
    return joined[:-1]


def _heard(token: str) -> str:
    """A token with a letter in it may be disguised; 505 is a number and no call for help."""
    token = token.strip("_").rstrip("!|")
    return token.translate(LOOK_ALIKES) if any(char.isalpha() for char in token) else token
