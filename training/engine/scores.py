"""From what the audience did to numbers a learner can use. Missing scores are NaN and stay NaN; they are never 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_MAD_TO_DEVIATION = 1.4826  # median absolute deviation of a normal distribution, as a share of its standard deviation


def robust_scale(values: ArrayLike, clip: float = 3.0) -> FloatArray:
    """(values − median) / (1.4826 · MAD), clipped to ±`clip`; all equal gives zeros.

    Falls back to the standard deviation when more than half of the values are equal but not all (the MAD is 0 then).
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[np.isfinite(numbers)]
    scaled = np.full(numbers.shape, np.nan)
    if known.size == 0:
        return scaled
    centre = np.median(known)
    spread = _MAD_TO_DEVIATION * np.median(np.abs(known - centre)) or known.std()
    present = np.isfinite(numbers)
    scaled[present] = np.clip((known - centre) / spread, -clip, clip) if spread > 0 else 0.0
    return scaled


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
    """Rewards of a bot's posts in standard units: hour-of-week effect taken out, then robust scale, clipped."""
    numbers = np.asarray(rewards, dtype=np.float64)
    # Waves are fitted on clipped units, so that one viral post cannot pass for a good hour.
    units = robust_scale(numbers, clip)
    return robust_scale(units - hour_effect(units, hours), clip)


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
