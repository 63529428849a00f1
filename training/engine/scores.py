"""From what the audience did to numbers a learner can use. Missing scores are NaN and stay NaN; they are never 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_MAD_TO_DEVIATION = 1.4826  # median absolute deviation of a normal distribution, as a share of its standard deviation

_LEAST_WITHOUT_HOURS = 0.1
"""Standard units that remain at least once the hours are out: where they explain all, what remains is the shrinkage."""


def robust_scale(values: ArrayLike, clip: float = 3.0, least: float = 0.0) -> FloatArray:
    """(values − median) / `spread`, or / `least` where that is more, clipped to ±`clip`; all equal gives zeros."""
    numbers, known = np.asarray(values, dtype=np.float64), _known(values)
    scaled = np.full(numbers.shape, np.nan)
    if known.size == 0:
        return scaled
    width = max(spread(known, clip), least)
    scaled[np.isfinite(numbers)] = np.clip((known - np.median(known)) / width, -clip, clip) if width > 0 else 0.0
    return scaled


def spread(values: ArrayLike, clip: float = 3.0) -> float:
    """1.4826 · MAD of the known values, the standard deviation of normal ones; 0 when all are equal.

    Where more than half are equal the MAD is 0. Then it is the standard deviation, each value brought within `clip`
    times the median distance of those that differ: beside zeros and ones, 1e6 is no measure.
    """
    known = _known(values)
    if known.size == 0:
        return 0.0
    centre = np.median(known)
    distances = np.abs(known - centre)
    if not mostly_equal(known):
        return float(_MAD_TO_DEVIATION * np.median(distances))
    apart = distances[distances > _alike(known)]
    if apart.size == 0:
        return 0.0
    farthest = clip * np.median(apart)
    return float(np.clip(known, centre - farthest, centre + farthest).std())


def mostly_equal(values: ArrayLike) -> bool:
    """Whether more than half of the known values are the same, give or take what rounding makes."""
    known = _known(values)
    return known.size == 0 or bool(_MAD_TO_DEVIATION * np.median(np.abs(known - np.median(known))) <= _alike(known))


def all_equal(values: ArrayLike) -> bool:
    """Whether there is more than one known value, and they are all the same: there is nothing to learn from."""
    return _known(values).size > 1 and spread(values) == 0


def _known(values: ArrayLike) -> FloatArray:
    numbers = np.asarray(values, dtype=np.float64)
    return np.asarray(numbers[np.isfinite(numbers)])


def _alike(known: FloatArray) -> float:
    """How far apart values may lie and still be the same: a millionth of the usual one, and 1e-8 at least. Two readings
    of one number of likes differ by as much when one is a few seconds older.
    """
    return float(max(1e-6 * np.median(np.abs(known)), 1e-8))


def hour_effect(values: ArrayLike, hours: ArrayLike, shrinkage: float = 16.0) -> FloatArray:
    """What the hour of the week adds to each value, shrunk towards nothing. `hours` are 0–167.

    Ridge regression of the centred values on two daily waves and one weekly wave; the penalty is as strong as
    `shrinkage` posts.
    """
    numbers, times = np.asarray(values, dtype=np.float64), np.asarray(hours, dtype=np.float64)
    known = np.isfinite(numbers)
    if known.sum() < 2:
        return np.zeros(numbers.shape)
    waves = _waves(times)
    seen = waves[known]
    gram = seen.T @ seen + shrinkage * np.eye(waves.shape[1])
    weights = np.linalg.solve(gram, seen.T @ (numbers[known] - numbers[known].mean()))
    return np.asarray(waves @ weights)


def normalise_rewards(rewards: ArrayLike, hours: ArrayLike, clip: float = 3.0) -> FloatArray:
    """Rewards of a bot's posts in standard units: hour-of-week effect taken out, then robust scale, clipped.

    Where more than half are equal the hours stay in: among posts that all did alike, taking out an hour's effect would
    put the hour in.
    """
    numbers = np.asarray(rewards, dtype=np.float64)
    # Waves are fitted on clipped units, so that one viral post cannot pass for a good hour.
    units = robust_scale(numbers, clip)
    if mostly_equal(numbers):
        return units
    return robust_scale(units - hour_effect(units, hours), clip, least=_LEAST_WITHOUT_HOURS)


def window_scale(stream: Sequence[float], window: int = 1000) -> FloatArray:
    """The original Kilroy's scaler: each raw score against the last `window` (itself included), mean 0 and unbiased sd
    1.

    0 while the deviation is undefined or 0. The stream 1, 2, 3, 3, 10 gives 0, .707, 1, .783, 1.740.
    """
    scaled = np.zeros(len(stream))
    for index, score in enumerate(stream):
        recent = np.asarray(stream[max(0, index + 1 - window) : index + 1], dtype=np.float64)
        spread = recent.std(ddof=1) if recent.size > 1 else 0.0
        scaled[index] = (score - recent.mean()) / spread if spread > 0 else 0.0
    return scaled


def _waves(hours: FloatArray) -> FloatArray:
    angles = [2 * np.pi * hours / period for period in (24, 12, 168)]
    # √2 gives each column a mean square of 1 over a week: `shrinkage` is then measured in posts.
    waves: FloatArray = np.stack([wave(angle) for angle in angles for wave in (np.cos, np.sin)], axis=1)
    return waves * math.sqrt(2)
