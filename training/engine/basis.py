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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.encoding import encode
from training.engine.features import Encoding, FeatureSpace, FloatArray
from training.engine.models.causal import CausalLanguageModel
from training.engine.reward_model import Prior, fit
from training.engine.types import HistoricPost, OnlineConfig, SamplingParams

REFERENCE_SAMPLES = 256
HISTORY_LIMIT = 6000
PRIOR_PRECISION = 400.0
HISTORY_WEIGHT = 0.25
HISTORY_PRECISION = 100.0
MIN_SCORED_HISTORY = 100
_FOLDS = 5
_NOTHING = 1e-9
_MAKE = 1
"""Part of the name of a kept basis: raise it when features or opinion are made differently, so that old files are not
used.
"""


@dataclass(frozen=True)
class HistoryOpinion:
    """A linear model of historical scores over the features: `weights` (width,), brought to mean 0 and spread 1 on the
    reference's samples by `centre` and `spread`; `trust` 0–1 is how far held-out scores bear it out.
    """

    weights: FloatArray
    centre: float
    spread: float
    trust: float


@dataclass(frozen=True)
class Basis:
    """The columns a reward model is fitted on are the features, the historical opinion and a constant."""

    space: FeatureSpace
    history: HistoryOpinion
    reference_texts: tuple[str, ...]

    def columns(self, texts: Sequence[str], encoding: Encoding) -> FloatArray:
        """(n, width + 2): what `prior` has beliefs about."""
        features = self.space.transform(texts, encoding)
        opinion = (features @ self.history.weights - self.history.centre) / self.history.spread
        return np.column_stack([features, opinion, np.ones(len(texts))])

    def prior(self, caution: float = 1.0) -> Prior:
        """Beliefs before the bot's own scores; `caution` below 1 widens the beliefs about features."""
        width, kinds = self.space.width, self.space.kinds
        mean = np.concatenate([np.zeros(width), [HISTORY_WEIGHT * self.history.trust, 0.0]])
        precision = np.concatenate([np.full(width, PRIOR_PRECISION * caution), [HISTORY_PRECISION, 1.0]])
        return Prior(mean, precision, np.concatenate([kinds, [kinds.max() + 1, kinds.max() + 2]]))


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
    history = _opinion(features[len(samples) :], scores, features[: len(samples)], space.kinds)
    return Basis(space, history, samples)


def _opinion(
    features: FloatArray, scores: FloatArray, standard: FloatArray, kinds: NDArray[np.int64]
) -> HistoryOpinion:
    known = np.isfinite(scores)
    silent = HistoryOpinion(np.zeros(features.shape[1]), 0.0, 1.0, 0.0)
    if known.sum() < MIN_SCORED_HISTORY:
        return silent
    features, scores = features[known], _without_trend(scores[known])
    if scores.std() < _NOTHING:
        return silent
    prior = Prior(np.zeros(features.shape[1]), np.full(features.shape[1], PRIOR_PRECISION), kinds, evidence=1.0)
    guesses = np.zeros(len(scores))
    folds = np.arange(len(scores)) % _FOLDS
    for fold in range(_FOLDS):
        out = folds == fold
        guesses[out] = features[out] @ fit(features[~out], scores[~out], prior).mean
    correlation = float(np.corrcoef(guesses, scores)[0, 1]) if guesses.std() > 0 else 0.0
    # Chance alone gives |r|·√n of about 1; at 3 the opinion is believed in full.
    trust = min(1.0, max(0.0, (correlation * math.sqrt(len(scores)) - 1.0) / 2.0))
    weights = fit(features, scores, prior).mean
    opinion = standard @ weights
    return HistoryOpinion(weights, float(opinion.mean()), float(opinion.std()), trust) if opinion.std() > 0 else silent


def _without_trend(scores: FloatArray) -> FloatArray:
    """Scores less a parabola over their order: audiences grow, and old posts are not worse for a small one."""
    order = np.linspace(-1.0, 1.0, len(scores))
    return scores - np.polynomial.Polynomial.fit(order, scores, 2)(order)


def _save(basis: Basis, path: Path) -> None:
    numbers = np.array([basis.history.centre, basis.history.spread, basis.history.trust])
    texts = np.frombuffer(json.dumps(basis.reference_texts).encode(), dtype=np.uint8)
    aside = path.with_name("aside-" + path.name)
    with aside.open("wb") as file:
        arrays: dict[str, Any] = {**basis.space.arrays(), "opinion": basis.history.weights}
        np.savez(file, numbers=numbers, texts=texts, **arrays)
    aside.replace(path)


def _load(path: Path) -> Basis:
    with np.load(path, allow_pickle=False) as stored:
        history = HistoryOpinion(stored["opinion"], *(float(number) for number in stored["numbers"]))
        texts = tuple(json.loads(stored["texts"].tobytes().decode()))
        return Basis(FeatureSpace.from_arrays(stored), history, texts)
