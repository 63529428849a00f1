"""What may be published at all, whatever the reward model thinks: nothing copied, repeated, cut off, too short or too
long.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from training.engine.types import LengthLimit, Sample
from training.engine.words import Gram, ngrams, words

MAX_CONTAINMENT = 0.5
MAX_SHARED_CHARACTERS = 60
MAX_SHARED_PART = 0.6
_SHORTLIST = 40
_FINISHED = tuple(".!?…)]}\"'”’»*") + tuple("。！？」』）")


class TextIndex:
    """An inverted index of texts by words, pairs and triples of words; look-ups touch only texts that share one."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts: list[str] = []
        self._triples: dict[Gram, list[int]] = defaultdict(list)
        self._near: dict[Gram, list[int]] = defaultdict(list)
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Put one more text into the index."""
        number, tokens = len(self.texts), words(text)
        self.texts.append(text)
        for gram in set(ngrams(tokens, 3)):
            self._triples[gram].append(number)
        for gram in {*ngrams(tokens, 1), *ngrams(tokens, 2)}:
            self._near[gram].append(number)

    def containment(self, text: str) -> float:
        """The largest share of the text's word trigrams (Broder 1997) that one indexed text holds; 0 for a text without
        words.
        """
        grams = set(ngrams(words(text), 3))
        hits: Counter[int] = Counter()
        for gram in grams:
            hits.update(self._triples.get(gram, ()))
        return max(hits.values()) / len(grams) if hits else 0.0

    def nearest(self, text: str) -> tuple[str, int]:
        """The indexed text that shares the longest run of characters, and that run's length; ("", 0) when no word is
        shared.

        Runs are looked for in the texts that share most words and pairs of words, rare ones counting more.
        """
        shortlist = self._alike(text)
        runs = [(longest_shared_run(text, found), -place) for place, found in enumerate(shortlist)]
        if not runs:
            return "", 0
        run, place = max(runs)
        return shortlist[-place], run

    def shares_run(self, text: str, length: int) -> bool:
        """Whether the text shares a run of `length` or more characters with one of those that `nearest` would look
        into.
        """
        return any(has_shared_run(text, found, length) for found in self._alike(text))

    def _alike(self, text: str) -> list[str]:
        tokens = words(text)
        weights: dict[int, float] = defaultdict(float)
        for gram in sorted({*ngrams(tokens, 1), *ngrams(tokens, 2)}):  # sums of floats depend on their order
            holders = self._near.get(gram, ())
            rarity = math.log1p(len(self.texts) / (1 + len(holders)))
            for number in holders:
                weights[number] += rarity
        shortlist = heapq.nsmallest(_SHORTLIST, weights, key=lambda number: (-weights[number], number))
        return [self.texts[number] for number in shortlist]


def longest_shared_run(first: str, second: str) -> int:
    """Length in characters of the longest run that both texts hold, ignoring case."""
    first, second = first.casefold(), second.casefold()
    best = 0
    for start in range(len(first)):
        while start + best < len(first) and first[start : start + best + 1] in second:
            best += 1
    return best


def has_shared_run(first: str, second: str, length: int) -> bool:
    """Whether the texts share a run of `length` or more characters, ignoring case."""
    first, second = first.casefold(), second.casefold()
    return any(first[start : start + length] in second for start in range(len(first) - length + 1))


def is_memorised(text: str, training: TextIndex) -> bool:
    """True when the text is a training text with little changed: a shared run of over 60 characters or over 60 % of the
    text, or more than half of its word trigrams in one training text.
    """
    if training.containment(text) > MAX_CONTAINMENT:
        return True
    # The shortest run that is longer than either limit.
    return training.shares_run(text, math.floor(min(MAX_SHARED_CHARACTERS, MAX_SHARED_PART * len(text))) + 1)


def ends_properly(text: str, ended: bool) -> bool:
    """True when the model chose to end here; a text cut at the token limit passes only if it ends like a sentence."""
    return ended or text.rstrip().endswith(_FINISHED)


OBJECTIONS = {
    "too_short": "too short",
    "too_long": "too long",
    "cut_off": "cut off in the middle",
    "repeated": "too like a post that was published or declined",
    "memorised": "copied from a past post",
}
"""Why a text may not be published, as people are told."""


@dataclass(frozen=True)
class Guard:
    """The rules for one batch. `training` is what the model learned from, `published` what the bot has said already
    and what people declined, `batch` what was chosen since. Lengths are in characters; `limit` is the platform's,
    counted its own way.
    """

    training: TextIndex
    published: TextIndex
    min_length: int
    max_length: int
    limit: LengthLimit | None = None
    batch: TextIndex = field(default_factory=TextIndex)

    def objection(self, text: str, ended: bool) -> str:
        """Why the text may not be published, one of `OBJECTIONS` ("" when it may)."""
        if len(text.strip()) < self.min_length or not words(text):
            return "too_short"
        if len(text) > self.max_length or (self.limit is not None and self.limit.count(text) > self.limit.maximum):
            return "too_long"
        if not ends_properly(text, ended):
            return "cut_off"
        if self.repeats(text):
            return "repeated"
        return "memorised" if is_memorised(text, self.training) else ""

    def repeats(self, text: str) -> bool:
        """Whether one text that was published, declined or chosen holds more than half of the text's word trigrams."""
        return max(self.published.containment(text), self.batch.containment(text)) > MAX_CONTAINMENT

    def accept(self, text: str) -> None:
        """Count the text as published from now on, so that the rest of the batch may not repeat it."""
        self.batch.add(text)

    def rehearsing(self) -> Guard:
        """A guard that knows the same and may be told of texts without this one hearing of them."""
        return replace(self, batch=TextIndex(self.batch.texts))


@dataclass(frozen=True)
class Screening:
    """The places of the candidates that passed the guard, and of the others how many for each reason and the first of
    them.
    """

    passed: list[int]
    objections: dict[str, tuple[int, str]]

    @classmethod
    def of(cls, samples: Iterable[Sample], guard: Guard) -> Screening:
        """Look at every sample by itself."""
        passed: list[int] = []
        objections: dict[str, tuple[int, str]] = {}
        for place, sample in enumerate(samples):
            reason = guard.objection(sample.text, sample.ended)
            if reason:
                count, example = objections.get(reason, (0, sample.text))
                objections[reason] = count + 1, example
            else:
                passed.append(place)
        return cls(passed, objections)

    def report(self) -> dict[str, dict[str, int | str]]:
        """As JSON-ready data: {reason: {"candidates": count, "example": text}}, in the order of `OBJECTIONS`."""
        return {
            reason: {"candidates": self.objections[reason][0], "example": self.objections[reason][1]}
            for reason in OBJECTIONS
            if reason in self.objections
        }

    def sentence(self) -> str:
        """What was held back, in words; "" when nothing was."""
        if not self.objections:
            return ""
        parts = ", ".join(f"{self.objections[r][0]} {OBJECTIONS[r]}" for r in OBJECTIONS if r in self.objections)
        held = sum(count for count, _ in self.objections.values())
        return f"{held} of {held + len(self.passed)} candidates were held back: {parts}."
