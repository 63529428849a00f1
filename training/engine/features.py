"""What the reward model sees of a post: the frozen reference model's view of it, its words, its surface, its fluency.

A `FeatureSpace` is fitted once per run, on the history and on samples of the reference, and then frozen: a weight
learned in round three must mean the same in round thirty.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.words import words

FloatArray = NDArray[np.float64]

HIDDEN_COMPONENTS = 50
WORD_COMPONENTS = 60
_MIN_POSTS_PER_WORD = 3
_MAX_WORDS = 8000
_CLIP = 4.0


@dataclass(frozen=True)
class Encoding:
    """A frozen language model's view of n texts: `pooled` hidden states (n, d); `logprobs` per token, one array a text,
    nats.
    """

    pooled: FloatArray
    logprobs: tuple[FloatArray, ...]


@dataclass(frozen=True)
class FeatureSpace:
    """A frozen map from texts to standardised columns: hidden components, word components, surface and fluency.

    `importance` (width,) is each column's variance before it was standardised, over the mean variance of its kind; 1
    for surface and fluency. Equal beliefs about the weights of principal components as they come (as a ridge regression
    on the states themselves has them) are beliefs in proportion to it about the standardised ones; without it the many
    components of little variance, which are mostly noise, drown the few that say something.
    """

    hidden_centre: FloatArray
    hidden_axes: FloatArray
    vocabulary: dict[str, int]
    rarity: FloatArray
    word_axes: FloatArray
    centre: FloatArray
    spread: FloatArray
    importance: FloatArray

    @classmethod
    def fit(cls, texts: Sequence[str], encoding: Encoding, standard: slice, seed: int) -> FeatureSpace:
        """Fit the axes on all `texts`; `standard` says which of them set mean 0 and spread 1 (the reference's own
        samples).
        """
        centre = encoding.pooled.mean(axis=0)
        axes = principal_axes(encoding.pooled - centre, HIDDEN_COMPONENTS)
        vocabulary, rarity = _vocabulary(texts)
        bags = _Bags(texts, vocabulary, rarity)
        word_axes = bags.principal_axes(WORD_COMPONENTS, np.random.default_rng(seed))
        width = axes.shape[1] + word_axes.shape[1] + SURFACE_COLUMNS + FLUENCY_COLUMNS
        raw = cls(centre, axes, vocabulary, rarity, word_axes, np.zeros(width), np.ones(width), np.ones(width))
        columns = raw._columns(texts, encoding)[standard]
        spread = columns.std(axis=0)
        importance = np.ones(width)
        for kind in (_HIDDEN, _WORDS):
            variance = spread[raw.kinds == kind] ** 2
            importance[raw.kinds == kind] = np.maximum(variance, 1e-3 * variance.mean()) / max(variance.mean(), 1e-18)
        return replace(
            raw, centre=columns.mean(axis=0), spread=np.where(spread > 1e-9, spread, 1.0), importance=importance
        )

    @property
    def kinds(self) -> NDArray[np.int64]:
        """Which kind each column is (width,): 0 hidden, 1 words, 2 surface, 3 fluency."""
        sizes = [self.hidden_axes.shape[1], self.word_axes.shape[1], SURFACE_COLUMNS, FLUENCY_COLUMNS]
        return np.repeat(np.arange(4), sizes)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.centre)

    def transform(self, texts: Sequence[str], encoding: Encoding) -> FloatArray:
        """Features (n, width), in standard units of the reference's samples, clipped at ±4 so that no oddity rules."""
        return np.clip((self._columns(texts, encoding) - self.centre) / self.spread, -_CLIP, _CLIP)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that makes up the space, as arrays for a .npz file."""
        terms = np.frombuffer(json.dumps(list(self.vocabulary)).encode(), dtype=np.uint8)
        return {"vocabulary": terms, **{name: getattr(self, name) for name in _ARRAYS}}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> FeatureSpace:
        """The space whose `arrays` these are. Raises KeyError or ValueError when they are not."""
        terms = json.loads(stored["vocabulary"].tobytes().decode())
        return cls(
            vocabulary={term: place for place, term in enumerate(terms)}, **{name: stored[name] for name in _ARRAYS}
        )

    def _columns(self, texts: Sequence[str], encoding: Encoding) -> FloatArray:
        bags = _Bags(texts, self.vocabulary, self.rarity)
        return np.hstack(
            [
                (encoding.pooled - self.hidden_centre) @ self.hidden_axes,
                bags.project(self.word_axes),
                np.array([_surface(text, self.vocabulary) for text in texts]).reshape(len(texts), SURFACE_COLUMNS),
                np.array([_fluency(each) for each in encoding.logprobs]).reshape(len(texts), FLUENCY_COLUMNS),
            ]
        )


_ARRAYS = ("hidden_centre", "hidden_axes", "rarity", "word_axes", "centre", "spread", "importance")
_HIDDEN, _WORDS = 0, 1
SURFACE_COLUMNS = 14
FLUENCY_COLUMNS = 4


def principal_axes(centred: FloatArray, components: int) -> FloatArray:
    """The leading principal axes (d, ≤ components) of centred rows (n, d), signs fixed so that the result is
    reproducible.
    """
    _, axes = np.linalg.eigh(centred.T @ centred)
    leading = axes[:, ::-1][:, : min(components, *centred.shape)]
    return np.asarray(leading * np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(leading.shape[1])]))


def _vocabulary(texts: Sequence[str]) -> tuple[dict[str, int], FloatArray]:
    # Sorted, because words that are equally frequent keep the order in which they came, and a set has none.
    holders = Counter(word for text in texts for word in sorted(set(words(text))))
    kept = [(word, count) for word, count in holders.most_common(_MAX_WORDS) if count >= _MIN_POSTS_PER_WORD]
    rarity = np.array([math.log(len(texts) / count) for _, count in kept])
    return {word: place for place, (word, _) in enumerate(kept)}, rarity


class _Bags:
    """Texts as sparse rows of unit length over the vocabulary (binary counts times rarity), kept as (row, column,
    value).
    """

    def __init__(self, texts: Sequence[str], vocabulary: dict[str, int], rarity: FloatArray) -> None:
        rows, columns = [], []
        for row, text in enumerate(texts):
            for word in sorted(set(words(text))):
                if word in vocabulary:
                    rows.append(row)
                    columns.append(vocabulary[word])
        self.shape = (len(texts), len(vocabulary))
        self.rows, self.columns = np.array(rows, dtype=np.int64), np.array(columns, dtype=np.int64)
        values = rarity[self.columns]
        squares = np.bincount(self.rows, values**2, minlength=len(texts))
        self.values = values / np.sqrt(np.maximum(squares, 1e-12))[self.rows]

    def project(self, axes: FloatArray) -> FloatArray:
        """Rows (n, V) times `axes` (V, k)."""
        return self._multiply(self.rows, self.columns, self.shape[0], axes)

    def principal_axes(self, components: int, rng: np.random.Generator) -> FloatArray:
        """Leading right singular vectors (V, ≤ components) by randomised subspace iteration (Halko et al. 2011,
        algorithm 4.4).
        """
        count = min(components, *self.shape)
        if count == 0:
            return np.zeros((self.shape[1], 0))
        basis = np.linalg.qr(rng.standard_normal((self.shape[1], min(count + 10, *self.shape))))[0]
        for _ in range(4):
            left = np.linalg.qr(self.project(basis))[0]
            basis = np.linalg.qr(self._multiply(self.columns, self.rows, self.shape[1], left))[0]
        inner = principal_axes(self.project(basis), count)
        return np.asarray(basis @ inner)

    def _multiply(self, out: NDArray[np.int64], into: NDArray[np.int64], size: int, dense: FloatArray) -> FloatArray:
        result = np.zeros((size, dense.shape[1]))
        if len(out):
            order = np.argsort(out, kind="stable")
            starts = np.flatnonzero(np.diff(out[order], prepend=-1))
            terms = self.values[order, None] * dense[into[order]]
            result[out[order][starts]] = np.add.reduceat(terms, starts)
        return result


def _surface(text: str, vocabulary: dict[str, int]) -> list[float]:
    tokens = words(text)
    count, length = max(1, len(tokens)), max(1, len(text))
    return [
        math.log1p(len(text)),
        math.log1p(len(tokens)),
        sum(map(len, tokens)) / count,
        len(set(tokens)) / count,
        sum(token not in vocabulary for token in tokens) / count,
        sum(character.isupper() for character in text) / length,
        sum(character.isdigit() for character in text) / length,
        sum(not character.isalnum() and not character.isspace() for character in text) / length,
        float("?" in text),
        float("!" in text),
        float(any(mark in text for mark in '"“”[](){}')),
        float(":" in text),
        float(
            bool(tokens)
            and tokens[0] in {"how", "what", "why", "who", "when", "where", "which", "is", "are", "do", "does"}
        ),
        float(any(token in {"i", "i'm", "my", "me", "we", "our", "you", "your"} for token in tokens)),
    ]


def _fluency(logprobs: FloatArray) -> list[float]:
    if not len(logprobs):
        return [0.0] * FLUENCY_COLUMNS
    return [float(logprobs.mean()), float(logprobs.min()), float(logprobs.sum()), float((logprobs < -6.0).mean())]
