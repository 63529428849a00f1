"""Bayesian linear regression from a post's features to its score in standard units: milliseconds to fit, and it knows
what it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.engine.scores import all_equal

FloatArray = NDArray[np.float64]

CHECK_WINDOW = 64
CHECK_MINIMUM = 40
_MIN_CORRELATION = 0.15
_SLOPES = (0.5, 2.0)


@dataclass(frozen=True)
class Prior:
    """Gaussian beliefs about D weights before any score: `mean` (D,), `precision` (D,).

    Weights of one number in `groups` (D,), counted from 0, share a scale of their precisions, which the evidence sets;
    `evidence` is how many pseudo-observations hold each scale (and the noise) at 1.
    """

    mean: FloatArray
    precision: FloatArray
    groups: NDArray[np.int64]
    evidence: float = 5.0


@dataclass(frozen=True)
class Posterior:
    """What is believed about the weights after the scores: `mean` (D,), `covariance` (D, D), `noise` the score's own
    variance.
    """

    mean: FloatArray
    covariance: FloatArray
    noise: float

    def predict(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (n,) of the expected score (without the noise of a single score) for features (n,
        D).
        """
        variance = np.einsum("nd,de,ne->n", features, self.covariance, features)
        return features @ self.mean, np.sqrt(np.maximum(variance, 0.0))

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """One draw (D,) of the weights, for Thompson selection."""
        return rng.multivariate_normal(self.mean, self.covariance, method="eigh")

    def thompson(self, features: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Expected scores (count, n) of features (n, D) under `count` draws of the weights."""
        return np.stack([features @ self.draw(rng) for _ in range(count)])


def fit(
    features: FloatArray,
    targets: FloatArray,
    prior: Prior,
    spread: FloatArray | None = None,
    *,
    noise: float = 1.0,
    iterations: int = 25,
) -> Posterior:
    """The posterior for `features` (n, D) and `targets` (n,), with the prior's scales and the noise set by the
    evidence.

    MacKay 1992, "Bayesian interpolation", fixed-point updates: a group's scale ← its effective number of parameters /
    the weighted squared distance of its weights from the prior mean; noise variance ← residual sum of squares / (n −
    all effective parameters); each softened by `prior.evidence` pseudo-observations that believe in 1 and in `noise`.
    Where given, `spread` (n,) is how many times the common noise variance each target has: weighted least squares.
    Without rows the answer is the prior.
    """
    if spread is not None:
        root = 1.0 / np.sqrt(spread)
        features, targets = features * root[:, None], targets * root
    residual_targets = targets - features @ prior.mean
    gram, moment = features.T @ features, features.T @ residual_targets
    scales, variance = np.ones(int(prior.groups.max()) + 1), noise
    for _ in range(iterations if len(targets) else 1):
        precision = prior.precision * scales[prior.groups]
        covariance = np.asarray(np.linalg.inv(gram / variance + np.diag(precision)), dtype=np.float64)
        delta = covariance @ moment / variance
        effective = 1.0 - np.diag(covariance) * precision
        distance = np.bincount(prior.groups, prior.precision * delta**2)
        scales = (np.bincount(prior.groups, effective) + prior.evidence) / (distance + prior.evidence)
        errors = float(np.sum((residual_targets - features @ delta) ** 2))
        freedom = max(len(targets) - float(effective.sum()), 0.0)
        variance, used = (errors + prior.evidence * noise) / (freedom + prior.evidence), variance
    return Posterior(prior.mean + delta, covariance, used)


@dataclass(frozen=True)
class Check:
    """How predictions made before publication fared. Without enough of them, or where either side is constant,
    `correlation` and `slope` are None and it passes.
    """

    correlation: float | None
    slope: float | None
    passed: bool


def check(predicted: Sequence[float], scored: Sequence[float]) -> Check:
    """Judge the reward model on its last 64 predictions: rank correlation above 0.15 and a regression slope within
    [0.5, 2].
    """
    forecasts, outcomes = np.asarray(predicted[-CHECK_WINDOW:]), np.asarray(scored[-CHECK_WINDOW:])
    if len(forecasts) < CHECK_MINIMUM or all_equal(forecasts) or all_equal(outcomes):
        return Check(None, None, True)
    correlation = rank_correlation(forecasts, outcomes)
    slope = float(np.cov(forecasts, outcomes)[0, 1] / forecasts.var(ddof=1))
    return Check(correlation, slope, correlation > _MIN_CORRELATION and _SLOPES[0] <= slope <= _SLOPES[1])


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's ρ with mean ranks for ties; 0 when either side is constant."""
    ranks = [_ranks(np.asarray(side, dtype=np.float64)) for side in (first, second)]
    if min(side.std() for side in ranks) == 0.0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse])
