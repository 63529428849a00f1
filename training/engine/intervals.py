"""Intervals for the difference of two arms: one that may be looked at after every post, one for a single look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_POSTS = 8
"""Fewer posts than this in an arm say nothing: the asymptotics of `confidence_sequence` have not begun."""


@dataclass(frozen=True)
class Interval:
    """A point estimate and its bounds, in the unit of the numbers given."""

    estimate: float
    low: float
    high: float


def sequence_radius(deviation: float, count: int, alpha: float, tuned_for: int = 64) -> float:
    """Half-width after `count` observations of the asymptotic confidence sequence for a mean.

    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences", Theorem 2.2: σ √(2(tρ²+1)/(t²ρ²) · ln(√(tρ²+1)/α)), with ρ chosen to be narrowest at `tuned_for`
    observations (their appendix B.2). Valid at every count at once; when the mean drifts it covers the running average
    of the means.
    """
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuned_for
    scaled = count * rho2 + 1
    return deviation * math.sqrt(2 * scaled / (count**2 * rho2) * math.log(math.sqrt(scaled) / alpha))


def lift_sequence(learning: Sequence[float], baseline: Sequence[float], alpha: float = 0.05) -> Interval | None:
    """Mean of `learning` minus mean of `baseline` with an anytime-valid 1 − `alpha` interval, or None while either arm
    is too small.

    Each arm has its own confidence sequence at α/2 and the half-widths add up (union bound), so the arms may grow at
    different speeds and the reader may stop whenever they like.
    """
    if min(len(learning), len(baseline)) < MIN_POSTS:
        return None
    estimate = float(np.mean(learning) - np.mean(baseline))
    # A small arm needs the narrow point of its sequence early: the anchors are one post in eight.
    radius = sequence_radius(_deviation(learning), len(learning), alpha / 2, tuned_for=128)
    radius += sequence_radius(_deviation(baseline), len(baseline), alpha / 2, tuned_for=24)
    return Interval(estimate, estimate - radius, estimate + radius)


def welch(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of `first` minus mean of `second` with Welch's 95 % interval, for one look at a number of samples fixed
    beforehand.

    Raises ValueError when either has fewer than two numbers.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError("an interval needs at least two numbers in each arm")
    estimate = float(np.mean(first) - np.mean(second))
    shares = [float(np.var(arm, ddof=1)) / len(arm) for arm in (first, second)]
    total = sum(shares)
    if total == 0.0:
        return Interval(estimate, estimate, estimate)
    freedom = total**2 / sum(share**2 / (len(arm) - 1) for share, arm in zip(shares, (first, second), strict=True))
    radius = _student_975(freedom) * math.sqrt(total)
    return Interval(estimate, estimate - radius, estimate + radius)


def _deviation(numbers: Sequence[float]) -> float:
    return float(np.std(numbers, ddof=1))


def _student_975(freedom: float) -> float:
    """The 97.5 % quantile of Student's t, by bisection of its distribution function (Abramowitz and Stegun 26.7.1)."""
    low, high = 1.9, 13.0
    for _ in range(40):
        middle = (low + high) / 2
        if _student_tail(middle, freedom) > 0.025:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _student_tail(value: float, freedom: float) -> float:
    """P(T > value), by Simpson's rule over the angle θ = arctan(t/√ν), where the density is proportional to
    cos(θ)^(ν−1).
    """
    start = math.atan(value / math.sqrt(freedom))
    angles = np.linspace(start, math.pi / 2, 401)
    heights = np.maximum(np.cos(angles), 0.0) ** (freedom - 1)
    weights = np.ones(401)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    area = float(weights @ heights) * (math.pi / 2 - start) / 1200
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(math.pi)
    return area * math.exp(log_scale)
