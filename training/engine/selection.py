"""Which of many candidates are published: the best that the guards allow, kept apart from what was said lately."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.engine.diversity import distinct_at, distinct_n
from training.engine.features import FloatArray
from training.engine.guards import Guard
from training.engine.types import Sample
from training.engine.words import Gram, ngrams, words

RECENT = 64
_BEATEN = 3


@dataclass(frozen=True)
class Candidate:
    """A draw and what the reward model believes of it (standard units)."""

    sample: Sample
    mean: float
    sd: float


@dataclass(frozen=True)
class Choice:
    """A chosen candidate and the best of those it was chosen over, best first."""

    candidate: Candidate
    beaten: tuple[Candidate, ...]


@dataclass(frozen=True)
class Variety:
    """The price of saying again what was said: `price` standard units for a post whose word pairs were all used lately.

    The price follows the published posts' distinct-2 against the reference's at the same set size (`update`).
    """

    price: float = 0.5
    aim: float = 0.9
    lowest: float = 0.3
    highest: float = 8.0

    def update(self, ratio: float) -> Variety:
        """Dearer while `ratio` (published over reference distinct-2) is below `aim`, cheaper above it."""
        price = self.price * math.exp(4.0 * max(-0.25, min(0.25, self.aim - ratio)))
        return Variety(max(self.lowest, min(self.highest, price)), self.aim, self.lowest, self.highest)


def choose(
    candidates: Sequence[Candidate], values: FloatArray, guard: Guard, recent: Sequence[str], price: float
) -> list[Choice]:
    """One choice for each row of `values` (posts, candidates), the candidates' worth for that post, as far as they
    last.

    Greedy: the highest worth minus `price` times the share of its word pairs that `recent` texts and the choices so far
    hold. What the guard objects to is passed over; what is chosen is told to the guard.
    """
    pairs = [set(ngrams(words(candidate.sample.text), 2)) for candidate in candidates]
    said: set[Gram] = {gram for text in recent for gram in ngrams(words(text), 2)}
    left = list(range(len(candidates)))
    choices: list[Choice] = []
    for worth in values:
        echo = {index: len(pairs[index] & said) / max(1, len(pairs[index])) for index in left}
        left.sort(key=lambda index: (price * echo[index] - worth[index], index))
        chosen = next((index for index in left if _allowed(guard, candidates[index].sample)), None)
        if chosen is None:
            break
        # What stood before it was objected to, and the guard only grows stricter within a batch.
        left = left[left.index(chosen) + 1 :]
        guard.accept(candidates[chosen].sample.text)
        said |= pairs[chosen]
        choices.append(Choice(candidates[chosen], tuple(candidates[index] for index in left[:_BEATEN])))
    return choices


def _allowed(guard: Guard, sample: Sample) -> bool:
    return not guard.objection(sample.text, sample.ended)


def choose_plain(samples: Sequence[Sample], count: int, guard: Guard) -> list[Sample]:
    """The first `count` samples that the guard allows: an honest draw from the model that wrote them."""
    kept: list[Sample] = []
    for sample in samples:
        if len(kept) < count and _allowed(guard, sample):
            guard.accept(sample.text)
            kept.append(sample)
    return kept


def distinct_ratio(published: Sequence[str], reference: Sequence[str]) -> float:
    """distinct-2 of the last 64 published texts over the reference's at the same set size; 1 when there is nothing to
    compare.
    """
    recent = list(published[-RECENT:])
    expected = distinct_at(reference, len(recent)) if recent else 0.0
    return distinct_n(recent) / expected if expected > 0 else 1.0


def spread_out(values: FloatArray, count: int) -> FloatArray:
    """The same worth (candidates,) for each of `count` posts."""
    return np.broadcast_to(values, (count, len(values)))
