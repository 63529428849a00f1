"""How the simulated audience sees a text: words, word pairs, pieces of words, style, and word classes."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

PIECE_BINS = 1 << 13
PAIR_BINS = 1 << 14
STYLE_LIMIT = 2.5
SHORTEST_PIECE, LONGEST_PIECE = 3, 4
NUMBER = "#"
START, UNKNOWN = "<start>", "<other>"
SUFFIXES = ("ing", "ed", "ly", "tion", "est", "er", "al", "ic", "y", "s")
_DANGLING_WORDS = """
a an the of and or but to in on at for from with by as that than is are was were be been am my your his her its our
their this these those i you we they he she who which what's if because while into about can will would could should may
very so not
"""
DANGLING = frozenset(_DANGLING_WORDS.split())

_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d[\d.,]*|[^\w\s]")
_NOT_WORD = re.compile(r"[\W_]+")
_FIRST_PERSON = frozenset(("i", "i'm", "i've", "my", "me", "we", "our", "us", "mine"))
_SECOND_PERSON = frozenset(("you", "your", "you're", "you've", "yours", "yourself"))
_ASKING_WORDS = "how why what when where who which is are do does can could would should if"
_ASKING = frozenset(_ASKING_WORDS.split())

STYLE = (
    "length", "length_squared", "words", "word_length", "question", "exclamation", "digits", "capitals", "title_case",
    "brackets", "quotes", "colon", "ellipsis", "dash", "first_person", "second_person", "asks", "sentences",
    "ends_properly", "distinct", "starts_with_number", "commas",
)  # fmt: skip


def normalise(text: str) -> str:
    """Case, accents' encoding, punctuation and spacing removed: what makes two posts "the same text"."""
    return _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def stable_hash(text: str) -> int:
    """64-bit hash of the normalised text, the same in every process and version."""
    return int.from_bytes(hashlib.blake2b(normalise(text).encode(), digest_size=8).digest(), "big")


def tokens(text: str) -> list[str]:
    """Lower-case words, punctuation marks, and one sign for any number."""
    folded = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'").lower()
    return [NUMBER if token[0].isdigit() else token for token in _TOKEN.findall(folded)]


def is_word(token: str) -> bool:
    return token[0].isalpha()


def pairs(found: Sequence[str]) -> Counter[int]:
    """Hashed neighbouring tokens with their counts."""
    return Counter(zlib.crc32(f"{left} {right}".encode()) % PAIR_BINS for left, right in pairwise(found))


def pieces(found: Sequence[str]) -> Counter[int]:
    """Hashed pieces of 3 and 4 characters of the words, word borders marked, with their counts."""
    bins: Counter[int] = Counter()
    for word in found:
        if is_word(word):
            marked = f"<{word}>".encode()
            for size in range(SHORTEST_PIECE, LONGEST_PIECE + 1):
                bins.update(zlib.crc32(marked[at : at + size]) % PIECE_BINS for at in range(len(marked) - size + 1))
    return bins


def style(text: str, found: Sequence[str]) -> np.ndarray:
    """The `STYLE` measurements of one text, float64 of shape (len(STYLE),)."""
    words = [token for token in found if is_word(token)]
    count = max(len(words), 1)
    size = max(len(text), 1)
    length = np.log1p(len(text))
    raw_words = text.split()
    return np.array(
        [
            length,
            (length - 4.3) ** 2,
            np.log1p(len(words)),
            sum(map(len, words)) / count,
            "?" in text,
            "!" in text,
            sum(character.isdigit() for character in text) / size,
            sum(character.isupper() for character in text) / size,
            sum(word[:1].isupper() for word in raw_words) / max(len(raw_words), 1),
            "[" in text or "(" in text,
            '"' in text or "“" in text,
            ":" in text,
            "..." in text or "…" in text,
            " - " in text or "—" in text or "–" in text,
            sum(word in _FIRST_PERSON for word in words) / count,
            sum(word in _SECOND_PERSON for word in words) / count,
            bool(words) and words[0] in _ASKING,
            np.log1p(sum(text.count(mark) for mark in ".!?")),
            text.rstrip()[-1:] in tuple('.!?)]"'),
            len(set(words)) / count,
            bool(found) and found[0] == NUMBER,
            np.log1p(text.count(",")),
        ],
        dtype=np.float64,
    )


def word_class(token: str, frequent: frozenset[str]) -> str:
    """The class by which the fluency model knows a token: itself when frequent, else its kind and ending."""
    if token in frequent or token == NUMBER:
        return token
    if not is_word(token):
        return UNKNOWN
    for suffix in SUFFIXES:
        if token.endswith(suffix) and len(token) > len(suffix) + 2:
            return f"<{suffix}>"
    return "<short>" if len(token) < 5 else "<word>"


def trigrams(text: str) -> set[tuple[str, ...]]:
    """The set of three neighbouring words of a text (the whole text when it is shorter)."""
    words = normalise(text).split()
    if len(words) < 3:
        return {tuple(words)} if words else set()
    return set(zip(words, words[1:], words[2:], strict=False))


def repeated_share(found: Sequence[str]) -> float:
    """Share of a text that says again what it said: the larger of repeated word pairs and repeated content words, 0 to
    1.
    """
    words = [token for token in found if is_word(token)]
    if len(words) < 2:
        return 0.0
    neighbours = Counter(pairwise(words))
    again = sum(times - 1 for times in neighbours.values()) / (len(words) - 1)
    content = [word for word in words if word not in DANGLING]
    dull = 1.0 - len(set(content)) / len(content) if content else 0.0
    stutter = sum(left == right for left, right in pairwise(words)) / (len(words) - 1)
    return max(again, dull, min(1.0, 2 * stutter))
