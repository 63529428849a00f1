"""What may be published at all, whatever the reward model thinks: nothing copied, repeated, cut off, too short or too
long.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

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
        tokens = words(text)
        weights: dict[int, float] = defaultdict(float)
        for gram in sorted({*ngrams(tokens, 1), *ngrams(tokens, 2)}):  # sums of floats depend on their order
            holders = self._near.get(gram, ())
            rarity = math.log1p(len(self.texts) / (1 + len(holders)))
            for number in holders:
                weights[number] += rarity
        shortlist = sorted(weights, key=lambda number: (-weights[number], number))[:_SHORTLIST]
        runs = [(longest_shared_run(text, self.texts[number]), -place) for place, number in enumerate(shortlist)]
        if not runs:
            return "", 0
        run, place = max(runs)
        return self.texts[shortlist[-place]], run


def longest_shared_run(first: str, second: str) -> int:
    """Length in characters of the longest run that both texts hold, ignoring case."""
    first, second = first.casefold(), second.casefold()
    best = 0
    for start in range(len(first)):
        while start + best < len(first) and first[start : start + best + 1] in second:
            best += 1
    return best


def is_memorised(text: str, training: TextIndex) -> bool:
    """True when the text is a training text with little changed: a shared run of over 60 characters or over 60 % of the
    text, or more than half of its word trigrams in one training text.
    """
    if training.containment(text) > MAX_CONTAINMENT:
        return True
    _, run = training.nearest(text)
    return run > MAX_SHARED_CHARACTERS or run > MAX_SHARED_PART * len(text)


def ends_properly(text: str, ended: bool) -> bool:
    """True when the model chose to end here; a text cut at the token limit passes only if it ends like a sentence."""
    return ended or text.rstrip().endswith(_FINISHED)


@dataclass(frozen=True)
class Guard:
    """The rules for one batch. `training` is what the model learned from, `published` what the bot has said already."""

    training: TextIndex
    published: TextIndex
    min_length: int
    max_length: int

    def objection(self, text: str, ended: bool) -> str:
        """Why the text may not be published ("" when it may): too_short, too_long, cut_off, repeated or memorised."""
        if len(text.strip()) < self.min_length or not words(text):
            return "too_short"
        if len(text) > self.max_length:
            return "too_long"
        if not ends_properly(text, ended):
            return "cut_off"
        if self.published.containment(text) > MAX_CONTAINMENT:
            return "repeated"
        if is_memorised(text, self.training):
            return "memorised"
        return ""

    def accept(self, text: str) -> None:
        """Count the text as published from now on, so that the rest of the batch may not repeat it."""
        self.published.add(text)
