"""Which of many candidates are published: the best that the guards allow, as varied as the reference's own posts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.engine.diversity import distinct_at, distinct_n
from training.engine.features import FloatArray
from training.engine.guards import Guard
from training.engine.round_types import Speaker
from training.engine.types import Sample
from training.engine.words import Gram, ngrams, words

RECENT = 64
DEAREST = 8.0
_SIZES = (64, 128, 256)
_HALVINGS = 5
_BEATEN = 3


@dataclass(frozen=True)
class Candidate:
    """A draw and what the reward model believes of it (standard units)."""

    sample: Sample
    mean: float
    sd: float
    speaker: Speaker = "policy"


@dataclass(frozen=True)
class Choice:
    """A chosen candidate and the best of those it was chosen over, best first."""

    candidate: Candidate
    beaten: tuple[Candidate, ...]


class Variety:
    """How varied a bot's posts are held to be: distinct-2 of the `published` texts against the reference's at the same
    set size.

    Looked at over all of them while they are few, then over the last 64, 128 and 256: a loop that repeats itself slowly
    shows in the larger sets only. Set sizes that `reference` does not have are not looked at.
    """

    def __init__(self, published: Sequence[str], reference: Sequence[str]) -> None:
        self.published, self._reference = list(published[-max(_SIZES) :]), reference
        self._expected: dict[int, float] = {}

    def ratio(self, added: Sequence[str] = ()) -> float:
        """The lowest ratio over the set sizes once `added` are published too; 1 when there is nothing to compare."""
        texts = [*self.published, *added]
        sizes = {min(size, len(texts), len(self._reference)) for size in _SIZES} - {0}
        return min((distinct_n(texts[-size:]) / self._at(size) for size in sizes if self._at(size) > 0), default=1.0)

    def _at(self, size: int) -> float:
        if size not in self._expected:
            self._expected[size] = distinct_at(self._reference, size)
        return self._expected[size]


def choose_varied(
    candidates: Sequence[Candidate], values: FloatArray, guard: Guard, variety: Variety, aim: float
) -> tuple[list[Choice], float]:
    """The best choices that keep `variety` at `aim`, and the price of echoes that it took (see `choose`).

    Maximising worth under a floor on distinct-2 means paying each new word pair its multiplier; the lowest price that
    holds the floor is found by halving, up to `DEAREST`, which is taken where none holds it.
    """

    def chosen_at(price: float) -> list[Choice]:
        return choose(candidates, values, guard.rehearsing(), variety.published, price)

    def varied(choices: Sequence[Choice]) -> bool:
        return variety.ratio([choice.candidate.sample.text for choice in choices]) >= aim

    low, high = 0.0, DEAREST
    choices = chosen_at(low)
    if varied(choices):
        high = low
    else:
        choices = chosen_at(high)
        for _ in range(_HALVINGS):
            price = (low + high) / 2
            if varied(found := chosen_at(price)):
                choices, high = found, price
            else:
                low = price
    for choice in choices:
        guard.accept(choice.candidate.sample.text)
    return choices, high


def choose(
    candidates: Sequence[Candidate], values: FloatArray, guard: Guard, said: Sequence[str], price: float
) -> list[Choice]:
    """One choice for each row of `values` (posts, candidates), the candidates' worth for that post, as far as they
    last. Worth of −∞ keeps a candidate from being that post.

    Greedy: the highest worth minus `price` times the share of its word pairs that `said` and the choices so far hold.
    What repeats a text that the guard knows is passed over; what is chosen is told to the guard.
    """
    pairs = [set(ngrams(words(candidate.sample.text), 2)) for candidate in candidates]
    known: set[Gram] = {gram for text in said for gram in ngrams(words(text), 2)}
    left = list(range(len(candidates)))
    choices: list[Choice] = []
    for worth in values:
        net = {index: worth[index] - price * len(pairs[index] & known) / max(1, len(pairs[index])) for index in left}
        ranked = sorted((index for index in left if net[index] > -math.inf), key=lambda index: (-net[index], index))
        place = next((at for at, index in enumerate(ranked) if not guard.repeats(candidates[index].sample.text)), None)
        if place is None:
            continue
        chosen = ranked[place]
        # What stood before it repeats something, and the guard only grows stricter within a batch.
        left = [index for index in left if index not in ranked[: place + 1]]
        guard.accept(candidates[chosen].sample.text)
        known |= pairs[chosen]
        beaten = ranked[place + 1 : place + 1 + _BEATEN]
        choices.append(Choice(candidates[chosen], tuple(candidates[index] for index in beaten)))
    return choices


def choose_plain(samples: Sequence[Sample], count: int, guard: Guard) -> list[Sample]:
    """The first `count` samples that the guard allows: an honest draw from the model that wrote them."""
    kept: list[Sample] = []
    for sample in samples:
        if len(kept) < count and not guard.objection(sample.text, sample.ended):
            guard.accept(sample.text)
            kept.append(sample)
    return kept


def alternating(values: FloatArray, candidates: Sequence[Candidate], counts: Mapping[Speaker, int]) -> FloatArray:
    """The rows of `values` (posts, candidates) shared out among the speakers, `counts` posts for each: only its own
    candidates have worth for a speaker's post. They take turns, so that none has the first choice of all.
    """
    turns = sorted((turn / count, speaker) for speaker, count in counts.items() for turn in range(count))
    own = np.array([[candidate.speaker == speaker for candidate in candidates] for _, speaker in turns], dtype=bool)
    return np.where(own.reshape(values.shape), values, -math.inf)


def spread_out(values: FloatArray, count: int) -> FloatArray:
    """The same worth (candidates,) for each of `count` posts."""
    return np.broadcast_to(values, (count, len(values)))
