"""Whether predictions mean what they say: predicted against real by decile, and how often intervals hold.

Rewards have heavy tails, so ±1.96 standard deviations are no 95 % interval. Its width is read off standardised errors
of predictions whose reward was unknown then (split conformal prediction: Lei et al. 2018), with pseudo-errors of a
normal distribution for as long as there are few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from training.engine.critics import registry
from training.engine.reward_model import FloatArray, Prior
from training.engine.round_types import ScoredPost

LEVELS = (0.5, 0.8, 0.95)
FEWEST = 20
DECILES = 10
WINDOW = 256
_PSEUDO = 10
_FOLDS = 5
_LEAST_PER_BIN = 5


def by_decile(predicted: FloatArray, real: FloatArray) -> list[dict[str, float]]:
    """Predictions in ten groups of one size, lowest first: the group's bounds, mean prediction, mean reality and count.

    Fewer groups where there are too few predictions to fill ten with five each.
    """
    if not len(predicted):
        return []
    groups = max(1, min(DECILES, len(predicted) // _LEAST_PER_BIN))
    return [
        {
            "low": float(predicted[members].min()),
            "high": float(predicted[members].max()),
            "predicted": float(predicted[members].mean()),
            "real": float(real[members].mean()),
            "count": len(members),
        }
        for members in np.array_split(np.argsort(predicted, kind="stable"), groups)
    ]


def multipliers(errors: FloatArray) -> FloatArray:
    """How many standard deviations wide the 50, 80 and 95 % intervals are to be, by standardised `errors` (n,) of
    predictions made without knowing the reward. Without errors: a normal distribution's.
    """
    places = np.arange(1, _PSEUDO + 1) / (_PSEUDO + 1)
    known = np.concatenate([np.abs(errors), [NormalDist().inv_cdf(0.5 + place / 2) for place in places]])
    # The k-th of n lies at k / (n + 1): then a new error is inside as often as the level says.
    return np.asarray(np.quantile(known, LEVELS, method="weibull"), dtype=np.float64)


def running_multipliers(errors: FloatArray, start: int) -> FloatArray:
    """The `multipliers` (n − start, 3) for each of the standardised `errors` (n,) from `start` on, each from the 256
    before it: audiences change, and intervals that were wide enough may not stay so.
    """
    return np.stack([multipliers(errors[max(0, place - WINDOW) : place]) for place in range(start, len(errors))])


def standard_errors(name: str, columns: FloatArray, rewards: FloatArray, prior: Prior) -> FloatArray:
    """(reward − prediction) / its standard deviation (n,), each predicted from the other four fifths of the rows."""
    errors = np.zeros(len(rewards))
    folds = np.arange(len(rewards)) * _FOLDS // max(1, len(rewards))
    for fold in np.unique(folds):
        out = folds == fold
        fitted = registry.fit(name, columns[~out], rewards[~out], prior)
        mean, sd = fitted.predict(registry.finite(columns[out]))
        errors[out] = (rewards[out] - mean) / np.sqrt(sd**2 + fitted.noise)
    return errors


def coverage(errors: FloatArray, widths: FloatArray) -> dict[str, float]:
    """Share of standardised errors (n,) inside `widths` (n, 3) or (3,) standard deviations, by level."""
    inside = np.mean(np.abs(errors)[:, None] <= widths, axis=0)
    return {f"{level:.0%}": float(share) for level, share in zip(LEVELS, inside, strict=True)}


def prequential(
    predicted: Sequence[float], deviations: Sequence[float], real: Sequence[float], noise: float
) -> dict[str, Any]:
    """Calibration of predictions made before publication, in order of it: `deciles`, `coverage` and `count`.

    `deviations` are those of the expected reward, `noise` the variance of a single one. Each interval's width is set by
    the predictions before it, so the coverage is what a reader would have seen (Dawid 1984). Empty below 20
    predictions.
    """
    if len(predicted) < FEWEST:
        return {}
    forecasts, outcomes = np.asarray(predicted, dtype=np.float64), np.asarray(real, dtype=np.float64)
    spread = np.sqrt(np.asarray(deviations, dtype=np.float64) ** 2 + max(noise, 0.0))
    errors = (outcomes - forecasts) / np.where(spread > 0, spread, 1.0)
    return {
        "deciles": by_decile(forecasts, outcomes),
        "coverage": coverage(errors, running_multipliers(errors, 0)),
        "count": len(errors),
    }


def of_round(scored: Sequence[ScoredPost], rewards: FloatArray, noise: float) -> dict[str, Any]:
    """A round's report on the predictions that its scored posts were published with: "calibration", or nothing yet."""
    foretold = [
        (post.predicted, post.predicted_sd, float(reward))
        for post, reward in zip(scored, rewards, strict=True)
        if post.predicted is not None and post.predicted_sd is not None
    ]
    found = prequential([p for p, _, _ in foretold], [sd for _, sd, _ in foretold], [r for _, _, r in foretold], noise)
    return {"calibration": found} if found else {}


def area_under_curve(scores: FloatArray, positive: FloatArray) -> float:
    """Probability that a positive row's score is above a negative one's, ties counting half (Mann & Whitney 1947); NaN
    when there is but one kind.
    """
    chosen = np.asarray(positive, dtype=bool)
    first, second = int(chosen.sum()), int((~chosen).sum())
    if not first or not second:
        return math.nan
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[chosen].sum() - first * (first + 1) / 2) / (first * second))


def calibration_error(probabilities: FloatArray, happened: FloatArray) -> float:
    """Expected calibration error: mean |predicted − real share| over groups of one size (Naeini et al. 2015).

    At most ten groups of at least forty: chance alone makes small groups look badly calibrated.
    """
    groups = max(1, min(DECILES, len(probabilities) // 40))
    parts = np.array_split(np.argsort(probabilities, kind="stable"), groups)
    gaps = [len(part) * abs(float(probabilities[part].mean() - happened[part].mean())) for part in parts if len(part)]
    return sum(gaps) / max(1, len(probabilities))
