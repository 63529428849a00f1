"""Intervals for the difference of two arms: one that may be looked at after every post, one for a single look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MIN_POSTS = 8
"""Fewer posts than this in an arm say nothing: the asymptotics of `lift_sequence` have not begun."""

PRIOR_POSTS = 4.0
"""φ of `mixture_bound`: its interval is narrowest at an information of 8 φ posts, and less than a tenth wider than a
sequence tuned to the very moment from 2 φ to 100 φ."""

ALIKE_POSTS = 8.0
"""How many posts' weight the belief has that the two arms' scores spread alike."""


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


def mixture_bound(information: float, freedom: float, alpha: float, prior: float = PRIOR_POSTS) -> float:
    """How many standard errors a coefficient's estimate may be off at any time, with probability 1 − `alpha` jointly.

    Lindon, Ham, Tingley, Bojinov 2022, "Anytime-valid linear models and regression adjusted causal inference in
    randomized experiments": with effects believed to be N(0, σ²/φ) and the usual priors of scale and nuisance, the
    Bayes factor of a t statistic on ν degrees of freedom is √r · ((1 + t²/ν) / (1 + r t²/ν))^((ν+1)/2), with
    r = φ/(φ + I) and I the information, σ² / squared standard error. It exceeds 1/α at some time with probability α at
    most, so t² ≤ ν (1 − k) / (k − r), with k = (α² r)^(1/(ν+1)). Infinite while k ≤ r: nothing can be excluded yet.
    For many degrees of freedom it becomes Robbins' normal mixture, t² ≤ (2 ln(1/α) − ln r) / (1 − r).
    """
    ratio = prior / (prior + information)
    threshold = (alpha**2 * ratio) ** (1 / (freedom + 1))
    if threshold <= ratio:
        return math.inf
    return math.sqrt(freedom * (1 - threshold) / (threshold - ratio))


def lift_sequence(
    learning: Sequence[float],
    baseline: Sequence[float],
    alpha: float = 0.05,
    *,
    when: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Interval | None:
    """How much higher `learning` scores than `baseline`, with an anytime-valid 1 − `alpha` interval.

    None while either arm has fewer than `MIN_POSTS` posts, or no two scores of an arm differ.

    `when` are the posts' times or places in the order of publication, in any unit: with them the estimate is that of an
    analysis of covariance, with one trend for both arms. What both go through together is no lift, while the learning
    arm's own progress stays in it, since the baseline's posts lie between its own. With a lift that changes, the
    interval is about its average so far.

    The interval is `mixture_bound` on the standard error for arms of different spread (Welch). A small arm's variance
    is drawn towards the common one by `ALIKE_POSTS`, as a scaled inverse χ² prior does, and the degrees of freedom are
    Satterthwaite's. It is asymptotic: what makes it trustworthy with a dozen posts is the simulation in
    `tests/bench/bench_lift.py`.
    """
    if min(len(learning), len(baseline)) < MIN_POSTS:
        return None
    times = when or ([0.0] * len(learning), [0.0] * len(baseline))
    first, second = (_Arm.of(scores, at) for scores, at in zip((learning, baseline), times, strict=True))
    spread = first.time_square + second.time_square
    slope = (first.time_score + second.time_score) / spread if spread > 0 else 0.0
    apart = first.time - second.time
    estimate = first.score - second.score - slope * apart
    freedom = first.count + second.count - (3 if spread > 0 else 2)
    common = (first.residual(slope) + second.residual(slope)) / freedom
    if common <= 0:
        return None
    leverage = apart**2 / spread if spread > 0 else 0.0
    shares = [arm.variance(slope, common) / arm.count for arm in (first, second)]
    satterthwaite = sum(shares) ** 2 / (shares[0] ** 2 / first.freedom + shares[1] ** 2 / second.freedom)
    information = 1 / (1 / first.count + 1 / second.count + leverage)
    bound = mixture_bound(information, min(satterthwaite, freedom), alpha)
    radius = bound * math.sqrt(sum(shares) + leverage * common)
    return Interval(estimate, estimate - radius, estimate + radius)


@dataclass(frozen=True)
class _Arm:
    """An arm's sums: mean score and time, and squares and products about those means."""

    count: int
    score: float
    time: float
    score_square: float
    time_square: float
    time_score: float

    @classmethod
    def of(cls, scores: Sequence[float], times: Sequence[float]) -> _Arm:
        values, at = np.asarray(scores, dtype=np.float64), np.asarray(times, dtype=np.float64)
        score, time = float(values.mean()), float(at.mean())
        values, at = values - score, at - time
        return cls(len(values), score, time, float(values @ values), float(at @ at), float(at @ values))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of `variance`."""
        return self.count - 1 + ALIKE_POSTS

    def residual(self, slope: float) -> float:
        """Sum of squared residuals about the arm's mean and a trend."""
        return max(self.score_square - 2 * slope * self.time_score + slope**2 * self.time_square, 0.0)

    def variance(self, slope: float, common: float) -> float:
        """The arm's residual variance, drawn towards the `common` one."""
        return (self.residual(slope) + ALIKE_POSTS * common) / self.freedom


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
