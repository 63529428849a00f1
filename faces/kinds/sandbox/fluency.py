"""How the simulated audience notices gibberish: unknown words, improbable letters, improbable word order.

Word order: a trigram model over word classes (frequent words are their own class, the rest are known by kind and
ending) with Dirichlet smoothing towards the bigram and unigram (MacKay and Bauman Peto 1995). What counts is how much
better the context predicts each class than its frequency does (mean pointwise mutual information, nats a token): rare
topics cost nothing, shuffled words do. Letters: a trigram model over the letters of known words, asked only about
unknown ones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from faces.kinds.sandbox import features

LETTERS = 28
BIGRAM_PRIOR, TRIGRAM_PRIOR = 8.0, 6.0
ORDER_SHRINK = 4.0
UNKNOWN_BASE, WORDS_SHRINK = 0.15, 3.0
ORDER_COST, WORDS_COST = 3.0, 5.0


class Fluency:
    """The fitted fluency model; `data` as written by `fit.py`."""

    def __init__(self, data: dict[str, np.ndarray]) -> None:
        self._known = frozenset(data["vocabulary"].tobytes().decode().split("\n"))
        names = data["classes"].tobytes().decode().split("\n")
        self._classes = {name: at for at, name in enumerate(names)}
        self._frequent = frozenset(names)
        self._other = self._classes[features.UNKNOWN]
        self._letters = data["letters"]
        size = len(names)
        keys, counts = data["trigram_keys"].astype(np.int64), data["trigram_counts"].astype(np.float64)
        self._keys, self._counts = keys, counts
        square = size * size
        # the first two classes of a trigram are what a third follows; its last two say what follows what
        self._contexts = np.bincount(keys // size, weights=counts, minlength=square).reshape(size, size)
        self._follows = np.bincount(keys % square, weights=counts, minlength=square).reshape(size, size)
        self._followed = self._follows.sum(axis=1)
        seen = self._follows.sum(axis=0)
        self._unigram = (seen + 1.0) / (seen.sum() + size)
        self._limits = data["fluency"] if "fluency" in data else np.array([0.0, 1.0, 0.0, 1.0])

    def cost(self, found: Sequence[str]) -> float:
        """Log units ≥ 0 that the audience takes off for gibberish; about 0 for nine real posts in ten."""
        order_allowed, order_spread, words_allowed, words_spread = (float(value) for value in self._limits)
        disorder = max(0.0, order_allowed - self.order(found)) / order_spread
        strange = max(0.0, self.strangeness(found) - words_allowed) / words_spread
        return ORDER_COST * float(1 - np.exp(-disorder / 2)) + WORDS_COST * float(1 - np.exp(-strange / 6))

    def order(self, found: Sequence[str]) -> float:
        """Mean pointwise mutual information of the classes with their two predecessors, nats, shrunk to 0 for short
        texts.
        """
        if not found:
            return 0.0
        size = len(self._classes)
        ids = np.array([self._classes[features.START]] * 2 + self.classes(found), dtype=np.int64)
        before, last, this = ids[:-2], ids[1:-1], ids[2:]
        p1 = self._unigram[this]
        p2 = (self._follows[last, this] + BIGRAM_PRIOR * p1) / (self._followed[last] + BIGRAM_PRIOR)
        wanted = (before * size + last) * size + this
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        seen = np.where(self._keys[at] == wanted, self._counts[at], 0.0)
        p3 = (seen + TRIGRAM_PRIOR * p2) / (self._contexts[before, last] + TRIGRAM_PRIOR)
        return float(np.log(p3 / p1).sum() / (len(this) + ORDER_SHRINK))

    def strangeness(self, found: Sequence[str]) -> float:
        """How strange words are: 0 for a known one, 0.15 unknown but well formed, up to 1.15 for improbable letters.

        The mean over the words, shrunk to 0 for short texts so that one name costs little; 1 where there are no words.
        """
        words = [token for token in found if features.is_word(token)]
        if not words:
            return 1.0
        return sum(0.0 if word in self._known else UNKNOWN_BASE + self._oddness(word) for word in words) / (
            len(words) + WORDS_SHRINK
        )

    def classes(self, found: Sequence[str]) -> list[int]:
        return [self._classes.get(features.word_class(token, self._frequent), self._other) for token in found]

    def _oddness(self, word: str) -> float:
        """0 for letters as probable as in real words, 1 for keyboard noise."""
        ids = letter_ids(word)
        if ids is None:
            return 1.0
        probability = float(self._letters[ids[:-2], ids[1:-1], ids[2:]].astype(np.float64).mean())
        typical, odd = -2.4, -4.0
        return float(np.clip((typical - probability) / (typical - odd), 0.0, 1.0))


def letter_ids(word: str) -> np.ndarray | None:
    """Letters of a word as ids with its borders (0) around, accents removed; None where a letter is not of the Latin
    alphabet.
    """
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))
    ids = [27 if letter == "'" else ord(letter) - 96 for letter in plain]
    if not ids or min(ids) < 1 or max(ids) > 27:
        return None
    return np.array([0, 0, *ids, 0], dtype=np.int64)
