"""What stays fixed while a bot learns: the feature space, the opinion of the historical scores, samples of the
reference.

Made once per run and kept in the run's cache folder; made again, identically, when the folder is empty.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from training.engine.encoding import encode
from training.engine.features import Encoding, FeatureSpace, FloatArray
from training.engine.models.causal import CausalLanguageModel
from training.engine.reward_model import Prior, fit
from training.engine.round_types import OnlineConfig
from training.engine.types import HistoricPost, SamplingParams

REFERENCE_SAMPLES = 256
HISTORY_LIMIT = 6000
PRIOR_PRECISION = 400.0
HISTORY_WEIGHT = 0.25
REALISM_WEIGHT = 0.05
OPINION_PRECISION = 100.0
MIN_SCORED_HISTORY = 100
_PERIODS = 5
_NOTHING = 1e-9
_MAKE = 2
"""Part of the name of a kept basis: raise it when features or opinion are made differently, so that old files are not
used.
"""


@dataclass(frozen=True)
class Opinion:
    """A linear model of something over the features: `weights` (width,), brought to mean 0 and spread 1 on the
    reference's samples by `centre` and `spread`; `trust` 0–1 is how far it may be believed.
    """

    weights: FloatArray
    centre: float
    spread: float
    trust: float

    @classmethod
    def silent(cls, width: int) -> Opinion:
        """That of someone who knows nothing: 0 for every post."""
        return cls(np.zeros(width), 0.0, 1.0, 0.0)

    @classmethod
    def standardised(cls, weights: FloatArray, standard: FloatArray, trust: float) -> Opinion:
        """The opinion of `weights`, in units of the rows `standard` (n, width)."""
        values = standard @ weights
        if values.std() == 0.0:
            return cls.silent(len(weights))
        return cls(weights, float(values.mean()), float(values.std()), trust)

    def of(self, features: FloatArray) -> FloatArray:
        """What it thinks of posts with these features (n, width)."""
        return (features @ self.weights - self.centre) / self.spread


@dataclass(frozen=True)
class Basis:
    """The columns a reward model is fitted on are the features, two opinions and a constant.

    `realism` is how far a post is like those of people rather than the reference's samples: on the whole an audience
    likes people's better, which is all there is to go by without scores. `history` is what past posts' scores teach.
    """

    space: FeatureSpace
    realism: Opinion
    history: Opinion
    reference_texts: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.space.width + 3

    def columns(self, texts: Sequence[str], encoding: Encoding) -> FloatArray:
        """(n, width): what `prior` has beliefs about."""
        features = self.space.transform(texts, encoding)
        return np.column_stack([features, self.realism.of(features), self.history.of(features), np.ones(len(texts))])

    def prior(self, caution: float = 1.0) -> Prior:
        """Beliefs before the bot's own scores; `caution` below 1 widens the beliefs about features."""
        width, kinds = self.space.width, self.space.kinds
        opinions = [REALISM_WEIGHT * self.realism.trust, HISTORY_WEIGHT * self.history.trust]
        mean = np.concatenate([np.zeros(width), opinions, [0.0]])
        beliefs = caution * PRIOR_PRECISION / self.space.importance
        precision = np.concatenate([beliefs, [OPINION_PRECISION, OPINION_PRECISION, 1.0]])
        return Prior(mean, precision, np.concatenate([kinds, kinds.max() + np.arange(1, 4)]))


def prepare(
    reference: CausalLanguageModel, history: Sequence[HistoricPost], config: OnlineConfig, folder: Path
) -> Basis:
    """The basis kept in `folder`, or a new one, which is then kept there. A damaged or outdated file is made again."""
    posts = list(history)[-HISTORY_LIMIT:]
    mark = fingerprint(reference, posts, config)
    path = folder / f"basis-{mark}.npz"
    try:
        return _load(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        basis = _build(reference, posts, config, seed=int(mark[:8], 16))
    folder.mkdir(parents=True, exist_ok=True)
    _save(basis, path)
    return basis


def fingerprint(reference: CausalLanguageModel, history: Sequence[HistoricPost], config: OnlineConfig) -> str:
    """A name for everything that goes into a basis: the reference's weights, the history, how samples are drawn."""
    digest = hashlib.sha256(json.dumps([_MAKE, config.temperature, config.max_new_tokens]).encode())
    for name, weight in sorted(reference.weights().items()):
        digest.update(name.encode() + weight.float().cpu().numpy().tobytes())
    for post in history:
        digest.update(json.dumps([post.text, post.score]).encode())
    return digest.hexdigest()[:16]


def _build(reference: CausalLanguageModel, posts: Sequence[HistoricPost], config: OnlineConfig, seed: int) -> Basis:
    params = SamplingParams(temperature=config.temperature, max_new_tokens=config.max_new_tokens, seed=seed)
    samples = tuple(sample.text for sample in reference.generate([""] * REFERENCE_SAMPLES, params))
    texts = [*samples, *(post.text for post in posts)]
    encoding = encode(reference, texts)
    space = FeatureSpace.fit(texts, encoding, slice(0, len(samples)), seed)
    features = space.transform(texts, encoding)
    scores = np.array([np.nan if post.score is None else post.score for post in posts])
    standard, past = features[: len(samples)], features[len(samples) :]
    return Basis(space, _realism(past, standard, space), _history(past, scores, standard, space), samples)


def _realism(features: FloatArray, standard: FloatArray, space: FeatureSpace) -> Opinion:
    """What tells past posts from the reference's samples: ridge regression on +1 and −1, both sides weighing the
    same.
    """
    if len(features) < MIN_SCORED_HISTORY:
        return Opinion.silent(space.width)
    rows = np.concatenate([features, standard])
    labels = np.concatenate([np.ones(len(features)), -np.ones(len(standard))])
    weights = np.sqrt(len(rows) / 2 / np.where(labels > 0, len(features), len(standard)))
    middle = (features.mean(axis=0) + standard.mean(axis=0)) / 2
    prior = Prior(np.zeros(space.width), PRIOR_PRECISION / space.importance, space.kinds, evidence=1.0)
    return Opinion.standardised(fit((rows - middle) * weights[:, None], labels * weights, prior).mean, standard, 1.0)


def _history(features: FloatArray, scores: FloatArray, standard: FloatArray, space: FeatureSpace) -> Opinion:
    """What past posts' scores teach, trusted as far as those of earlier posts foretell those of later ones."""
    known = np.isfinite(scores)
    silent = Opinion.silent(space.width)
    if known.sum() < MIN_SCORED_HISTORY:
        return silent
    features, scores = features[known], _without_trend(scores[known])
    if scores.std() < _NOTHING:
        return silent
    prior = Prior(np.zeros(space.width), PRIOR_PRECISION / space.importance, space.kinds, evidence=1.0)
    borders = np.linspace(0, len(scores), _PERIODS + 1).astype(int)
    guesses = [
        features[start:end] @ fit(features[:start], scores[:start], prior).mean for start, end in pairwise(borders[1:])
    ]
    foretold, later = np.concatenate(guesses), scores[borders[1] :]
    correlation = float(np.corrcoef(foretold, later)[0, 1]) if min(foretold.std(), later.std()) > 0 else 0.0
    # Chance alone gives |r|·√n of about 1; at 3 the opinion is believed in full.
    trust = min(1.0, max(0.0, (correlation * math.sqrt(len(later)) - 1.0) / 2.0))
    return Opinion.standardised(fit(features, scores, prior).mean, standard, trust)


def _without_trend(scores: FloatArray) -> FloatArray:
    """Scores less a parabola over their order: audiences grow, and old posts are not worse for a small one."""
    order = np.linspace(-1.0, 1.0, len(scores))
    return scores - np.polynomial.Polynomial.fit(order, scores, 2)(order)


def _save(basis: Basis, path: Path) -> None:
    texts = np.frombuffer(json.dumps(basis.reference_texts).encode(), dtype=np.uint8)
    arrays: dict[str, Any] = {"texts": texts, **basis.space.arrays()}
    for name, opinion in (("realism", basis.realism), ("history", basis.history)):
        arrays[name] = opinion.weights
        arrays[f"{name}_numbers"] = np.array([opinion.centre, opinion.spread, opinion.trust])
    aside = path.with_name("aside-" + path.name)
    with aside.open("wb") as file:
        np.savez(file, **arrays)
    aside.replace(path)


def _load(path: Path) -> Basis:
    with np.load(path, allow_pickle=False) as stored:
        realism, history = (
            Opinion(stored[name], *(float(number) for number in stored[f"{name}_numbers"]))
            for name in ("realism", "history")
        )
        texts = tuple(json.loads(stored["texts"].tobytes().decode()))
        return Basis(FeatureSpace.from_arrays(stored), realism, history, texts)
