"""Near-duplicates in bounded memory: candidates by MinHash, judged by the Jaccard similarity of what they share.

The measure: the sets of character 5-grams of two texts, without addresses, names of accounts and punctuation; how many
they share, divided by how many there are. Sets of up to 256 are compared whole, larger ones by their 256 smallest
hashes (bottom-k sketch, Cohen & Kaplan 2007; standard error at most 0.03). Candidates share one of 8 bands of 4 bins
of a one-permutation MinHash (Li, Owen & Zhang 2012; empty bins filled by rotation, Shrivastava & Li 2014): a pair of
similarity 0.8 does with probability 0.98, one of 0.5 with 0.40.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from bots.languages import bare
from training.imports.contract import ImportedRow
from training.imports.filters import Check

REMEMBERED = 50_000
GRAM = 5
SKETCH = 256
BINS, BAND = 32, 4
EMPTY = 2**32 - 1
STEP = 0x9E3779B1
LETTERS = np.random.default_rng(0).integers(2**64, size=GRAM, dtype=np.uint64, endpoint=False)
PLAIN = re.compile(r"[\W_]+")

Sketch = NDArray[np.uint32]
"""The smallest 32-bit hashes of a text's grams, rising."""
Keys = tuple[int, ...]


class Remembered:
    """The last posts kept, found by any of their bands."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._posts: list[tuple[Sketch, Keys]] = []
        self._slots: dict[int, int] = {}
        self._next = 0

    def nearest(self, sketch: Sketch, keys: Keys) -> float:
        """The largest similarity to a remembered post, 0 where none shares one of these bands."""
        found = {slot for band in keys if (slot := self._slots.get(band)) is not None}
        return max((similarity_of(sketch, self._posts[slot][0]) for slot in found), default=0.0)

    def add(self, sketch: Sketch, keys: Keys) -> None:
        """Remember a post, in place of the oldest once there are enough."""
        slot = self._next
        self._next = (slot + 1) % self._capacity
        if slot == len(self._posts):
            self._posts.append((sketch, keys))
        else:
            for band in self._posts[slot][1]:
                if self._slots.get(band) == slot:
                    del self._slots[band]
            self._posts[slot] = sketch, keys
        for band in keys:
            self._slots[band] = slot


def near_duplicates(similarity: float) -> Check:
    remembered = Remembered()

    def check(row: ImportedRow) -> str | None:
        sketch = sketch_of(row.text)
        if not len(sketch):
            return None
        keys = bands(sketch)
        nearest = remembered.nearest(sketch, keys)
        if nearest >= similarity:
            return f"{nearest:.0%} the same as an earlier post"
        remembered.add(sketch, keys)
        return None

    return check


def sketch_of(text: str) -> Sketch:
    """The 256 smallest hashes of the text's character 5-grams; empty for a text without one.

    A hash is the high half of the characters' codes times five random numbers (multilinear hashing, Lemire & Kaser
    2014).
    """
    plain = PLAIN.sub(" ", bare(text).casefold()).strip()
    if len(plain) < GRAM:
        return np.zeros(0, dtype=np.uint32)
    codes = np.frombuffer(plain.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    hashes = np.sort(np.correlate(codes, LETTERS, "valid") >> 32)
    first = np.ones(len(hashes), dtype=np.bool_)
    np.not_equal(hashes[1:], hashes[:-1], out=first[1:])
    return hashes[first][:SKETCH].astype(np.uint32)


def similarity_of(first: Sketch, second: Sketch) -> float:
    """Jaccard similarity of two sets by their sketches: shared among the smallest of both together."""
    _, counts = np.unique(np.concatenate([first, second]), return_counts=True)
    seen = counts[:SKETCH] if max(len(first), len(second)) == SKETCH else counts
    return float((seen == 2).mean())


def bands(sketch: Sketch) -> Keys:
    """A hash of each band of the sketch's MinHash signature."""
    signature = np.full(BINS, EMPTY, dtype=np.uint32)
    falling = sketch[::-1]
    signature[falling % BINS] = falling // BINS  # of several for one bin the last stays, which is the smallest
    filled = _filled(signature.tolist())
    return tuple(hash((start, *filled[start : start + BAND])) for start in range(0, BINS, BAND))


def _filled(signature: list[int]) -> list[int]:
    """Each empty bin takes the value of the next full one, changed by how far away that is."""
    filled = list(signature)
    for at, value in enumerate(signature):
        away = 0
        while value == EMPTY:
            away += 1
            value = signature[(at + away) % BINS]
        filled[at] = value + away * STEP
    return filled
