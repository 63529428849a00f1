"""Near-duplicates in bounded memory: candidates by MinHash, judged by the Jaccard similarity of what they share.

The measure: the sets of character 5-grams of two texts, without addresses, names of accounts and punctuation; how many
they share, divided by how many there are. Sets of up to 256 are compared whole, larger ones by their 256 smallest
hashes (bottom-k sketch, Cohen & Kaplan 2007; standard error at most 0.03). Candidates share one of 8 bands of 4 bins
of a one-permutation MinHash (Li, Owen & Zhang 2012; empty bins filled by rotation, Shrivastava & Li 2014): a pair of
similarity 0.8 does with probability 0.98, one of 0.5 with 0.40.
"""

from __future__ import annotations

import re
import zlib
from array import array

from bots.languages import bare
from training.imports.contract import ImportedRow
from training.imports.filters import Check

REMEMBERED = 50_000
GRAM = 5
SKETCH = 256
BINS, BAND = 32, 4
EMPTY = 2**32 - 1
STEP = 0x9E3779B1
PLAIN = re.compile(r"[\W_]+")


class Remembered:
    """The last posts kept, found by any of their bands."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._sketches: list[array[int]] = []
        self._slots: dict[int, int] = {}
        self._next = 0

    def nearest(self, sketch: list[int], keys: list[int]) -> float:
        """The largest similarity to a remembered post, 0 where none shares one of these bands."""
        found = {slot for band in keys if (slot := self._slots.get(band)) is not None}
        return max((similarity_of(sketch, self._sketches[slot].tolist()) for slot in found), default=0.0)

    def add(self, sketch: list[int], keys: list[int]) -> None:
        """Remember a post, in place of the oldest once there are enough."""
        slot = self._next
        self._next = (slot + 1) % self._capacity
        if slot == len(self._sketches):
            self._sketches.append(array("I", sketch))
        else:
            for band in bands(self._sketches[slot].tolist()):
                if self._slots.get(band) == slot:
                    del self._slots[band]
            self._sketches[slot] = array("I", sketch)
        for band in keys:
            self._slots[band] = slot


def near_duplicates(similarity: float) -> Check:
    remembered = Remembered()

    def check(row: ImportedRow) -> str | None:
        sketch = sketch_of(row.text)
        if not sketch:
            return None
        keys = bands(sketch)
        nearest = remembered.nearest(sketch, keys)
        if nearest >= similarity:
            return f"{nearest:.0%} the same as an earlier post"
        remembered.add(sketch, keys)
        return None

    return check


def sketch_of(text: str) -> list[int]:
    """The 256 smallest 32-bit hashes of the text's character 5-grams, rising; empty for a text without one."""
    plain = PLAIN.sub(" ", bare(text).casefold()).strip()
    grams = {plain[start : start + GRAM] for start in range(len(plain) - GRAM + 1)}
    return sorted({zlib.crc32(gram.encode()) * STEP & EMPTY for gram in grams})[:SKETCH]


def similarity_of(first: list[int], second: list[int]) -> float:
    """Jaccard similarity of two sets by their sketches: shared among the smallest of both together."""
    both = set(first) & set(second)
    together = sorted({*first, *second})
    seen = together[:SKETCH] if max(len(first), len(second)) == SKETCH else together
    return sum(number in both for number in seen) / len(seen)


def bands(sketch: list[int]) -> list[int]:
    """A hash of each band of the sketch's MinHash signature."""
    signature = [EMPTY] * BINS
    for number in sketch:
        at, value = number % BINS, number // BINS
        if value < signature[at]:
            signature[at] = value
    filled = _filled(signature)
    return [hash((start, *filled[start : start + BAND])) for start in range(0, BINS, BAND)]


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
