"""The simulated audience: what it thinks of a text, as a deterministic function of the text alone.

Appeal is a linear model of words, word pairs, pieces of words and style, fitted by `fit.py` to real scores on a half of
the data that no learner is shown, then amplified: the text alone explains little of a real score, and a simulation in
which nothing could be learned would teach nothing. From appeal it takes off what people dislike: gibberish, repetition,
unfinished and too short texts, and copies. Everything is in log units: +0.7 doubles the expected reactions. These are
simulated reactions, never to be shown as real.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from faces.kinds.sandbox import features
from faces.kinds.sandbox.fluency import Fluency

DATA = Path(__file__).with_name("audience.npz")

APPEAL_SD = 0.8
APPEAL_LIMIT = 3.0
WORD_CAP, HASHED_CAP, STYLE_CAP = 0.4, 0.15, 0.6
REPETITION_COST, REPETITION_ALLOWED = 3.0, 0.15
SHORT_COST, ENOUGH_WORDS, ENOUGH_CHARACTERS = 2.0, 4, 20
UNFINISHED_COST = 0.8
COPY_COST, COPY_ALLOWED = 3.5, 0.25


@dataclass(frozen=True)
class Opinion:
    """What the audience thinks of one text, in log units: `appeal` may have either sign, the rest are costs (0 or
    more).
    """

    appeal: float
    gibberish: float
    repetition: float
    unfinished: float

    @property
    def expected(self) -> float:
        return self.appeal - self.gibberish - self.repetition - self.unfinished


class Audience:
    """The fitted audience. `data` holds the arrays that `fit.py` writes (see `fit.fit_audience`)."""

    def __init__(self, data: dict[str, np.ndarray]) -> None:
        self._data = data
        scored = len(data["word_weight"])
        self._words = {word: at for at, word in enumerate(unpack(data["vocabulary"])[:scored])}
        self._fluency = Fluency(data)
        self.mean, self.sd = (float(value) for value in data["standard"]) if "standard" in data else (0.0, 1.0)

    @classmethod
    def load(cls, path: Path = DATA) -> Audience:
        """The shipped audience, read once per process. The file holds plain arrays only; pickles are refused."""
        return _load(path)

    def expected(self, texts: Sequence[str]) -> np.ndarray:
        """True expected reaction of each text, log units, float64 of shape (len(texts),); copies are not looked at (see
        `dislike`).
        """
        return np.array([opinion.expected for opinion in self.opinions(texts)], dtype=np.float64)

    def standardise(self, expected: np.ndarray | Sequence[float]) -> np.ndarray:
        """Expected reactions in standard units: 0 is the mean of real posts the audience was not fitted to, 1 their
        spread.
        """
        return (np.asarray(expected, dtype=np.float64) - self.mean) / self.sd

    def opinions(self, texts: Iterable[str]) -> list[Opinion]:
        """The expected reaction of each text, taken apart."""
        return [self._opinion(text) for text in texts]

    def raw_appeal(self, text: str, found: Sequence[str]) -> float:
        """The linear model's value before it is put on a scale; every single contribution is capped, so that no one
        trick pays.
        """
        data = self._data
        scale = float(data["appeal"][1])
        known = [self._words[token] for token in found if token in self._words]
        at, times = np.unique(np.array(known, dtype=np.int64), return_counts=True)
        total = capped_dot(at, times, data["word_idf"], data["word_weight"], WORD_CAP * scale)
        for name, counts in (("pair", features.pairs(found)), ("piece", features.pieces(found))):
            at = np.fromiter(counts.keys(), dtype=np.int64, count=len(counts))
            times = np.fromiter(counts.values(), dtype=np.int64, count=len(counts))
            total += capped_dot(at, times, data[f"{name}_idf"], data[f"{name}_weight"], HASHED_CAP * scale)
        measured = (features.style(text, found) - data["style_mean"]) / data["style_sd"]
        contributions = np.clip(measured, -features.STYLE_LIMIT, features.STYLE_LIMIT) * data["style_weight"]
        return total + float(np.clip(contributions, -STYLE_CAP * scale, STYLE_CAP * scale).sum())

    def _opinion(self, text: str) -> Opinion:
        found = features.tokens(text)
        mean, scale = (float(value) for value in self._data["appeal"])
        standard = (self.raw_appeal(text, found) - mean) / scale
        repeated = max(0.0, features.repeated_share(found) - REPETITION_ALLOWED) / (1 - REPETITION_ALLOWED)
        return Opinion(
            appeal=APPEAL_SD * APPEAL_LIMIT * float(np.tanh(standard / APPEAL_LIMIT)),
            gibberish=self._fluency.cost(found),
            repetition=REPETITION_COST * float(1 - np.exp(-3 * repeated)),
            unfinished=unfinished_cost(text, found),
        )


def dislike(text: str, earlier_texts: Iterable[str]) -> float:
    """Cost of repeating oneself, log units ≥ 0: grows with the share of the text's word trigrams that one earlier text
    contains.
    """
    own = features.trigrams(text)
    if not own:
        return 0.0
    contained = max((len(own & features.trigrams(earlier)) / len(own) for earlier in earlier_texts), default=0.0)
    return COPY_COST * max(0.0, contained - COPY_ALLOWED) / (1 - COPY_ALLOWED)


def unfinished_cost(text: str, found: Sequence[str]) -> float:
    """Cost of a text that is too short or stops in the middle, log units ≥ 0."""
    words = sum(map(features.is_word, found))
    missing = max(0.0, 1 - words / ENOUGH_WORDS, 1 - len(text.strip()) / ENOUGH_CHARACTERS)
    cost = SHORT_COST * missing
    if found and (found[-1] in features.DANGLING or found[-1] in ",;(-[{<&"):
        cost += UNFINISHED_COST
    elif text.count("(") != text.count(")") or text.count("[") != text.count("]") or text.count('"') % 2:
        cost += UNFINISHED_COST / 2
    return cost


def capped_dot(at: np.ndarray, times: np.ndarray, idf: np.ndarray, weight: np.ndarray, cap: float) -> float:
    """Σ clip(xⱼ·wⱼ, ±cap) with x the length-normalised (1 + log count)·idf vector: repeating or stuffing words dilutes,
    it does not add.
    """
    if not len(at):
        return 0.0
    value = (1 + np.log(times)) * idf[at].astype(np.float64)
    norm = float(np.linalg.norm(value))
    if norm == 0.0:
        return 0.0
    return float(np.clip(value / norm * weight[at], -cap, cap).sum())


def unpack(packed: np.ndarray) -> list[str]:
    """Strings out of the newline-joined UTF-8 bytes in which the data file keeps them."""
    return packed.tobytes().decode().split("\n")


@cache
def _load(path: Path) -> Audience:
    with np.load(path, allow_pickle=False) as stored:
        return Audience({name: stored[name] for name in stored.files})
