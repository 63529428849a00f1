"""How expected reactions become counts: noise with heavy tails, time of day, followers, delay. All simulated.

Everything random about a post is drawn from its world's seed and its own id, so reading twice at one age gives one
answer and counts never fall.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

METRICS = ("likes", "comments", "shares")

HALF_LIFE_MINUTES, DELAY_SHAPE = 80.0, 1.2
LIKES_PER_FOLLOWER = 0.03
NOISE_SD, NOISE_FREEDOM, NOISE_LIMIT = 0.45, 4, 2.5
COMMENTS_LOG_RATIO, SHARES_LOG_RATIO, SIDE_NOISE_SD = -1.9, -1.6, 0.4
QUESTION_BONUS = 0.6
MOST_REACTIONS = 200_000
GROWTH_PER_POST, GROWTH_LIMIT = 0.002, 6.0


@dataclass(frozen=True)
class Moment:
    """What a post met when it appeared: its expected reaction (log units), the account's followers, and when (UTC)."""

    expected: float
    followers: float
    published_at: datetime
    asks: bool = False


def delivered(age_minutes: float) -> float:
    """F(age): the share of all reactions that has come after so many minutes; log-logistic, half after 80 minutes, 97 %
    after a day.
    """
    if age_minutes <= 0:
        return 0.0
    odds = (age_minutes / HALF_LIFE_MINUTES) ** DELAY_SHAPE
    return float(odds / (1 + odds))


def hour_effect(at: datetime) -> float:
    """Log effect of the hour of the week: evenings (UTC) are better than nights, weekends a little worse than weekdays;
    mean about 0.
    """
    hour = at.hour + at.minute / 60
    day = 0.25 * math.cos(2 * math.pi * (hour - 18) / 24) + 0.10 * math.cos(4 * math.pi * (hour - 13) / 24)
    return day + (-0.10 if at.weekday() >= 5 else 0.04)


def reactions(seed: int, post_id: str, moment: Moment, age_minutes: float) -> dict[str, int]:
    """Likes, comments and shares that a post has at an age in platform minutes; they never fall with age."""
    share = delivered(age_minutes)
    return {metric: int((come < share).sum()) for metric, come in _arrivals(seed, post_id, moment).items()}


def comment_ages(seed: int, post_id: str, moment: Moment, most: int) -> list[float]:
    """Ages of a post in platform minutes at which its first comments come, at most `most` of them: those that
    `reactions` counts.
    """
    come = np.sort(_arrivals(seed, post_id, moment)["comments"])[:most]
    return [float(HALF_LIFE_MINUTES * (share / (1 - share)) ** (1 / DELAY_SHAPE)) for share in come]


def _arrivals(seed: int, post_id: str, moment: Moment) -> dict[str, np.ndarray]:
    """For each reaction that a post will ever get, the share F(age) at which it comes."""
    draw = generator(seed, post_id)
    surprise = NOISE_SD * float(np.clip(draw.standard_t(NOISE_FREEDOM), -NOISE_LIMIT, NOISE_LIMIT * 1.6))
    base = moment.expected + surprise + hour_effect(moment.published_at)
    likes_rate = LIKES_PER_FOLLOWER * max(moment.followers, 0.0) * math.exp(base)
    ratios = {
        "likes": 0.0,
        "comments": COMMENTS_LOG_RATIO + SIDE_NOISE_SD * float(draw.standard_normal()) + QUESTION_BONUS * moment.asks,
        "shares": SHARES_LOG_RATIO + SIDE_NOISE_SD * float(draw.standard_normal()) + 0.2 * moment.expected,
    }
    return {
        metric: draw.random(int(draw.poisson(min(likes_rate * math.exp(ratios[metric]), MOST_REACTIONS))))
        for metric in METRICS
    }


def followers_gained(expected: Sequence[float], followers: Sequence[float], ages_minutes: Sequence[float]) -> float:
    """Followers that an account's posts have won by now: each wins 0.2 % of the followers it was shown to, times
    exp(expected) up to a limit.
    """
    worth = np.minimum(np.exp(np.asarray(expected, dtype=np.float64)), GROWTH_LIMIT)
    come = np.array([delivered(age) for age in ages_minutes])
    return float((GROWTH_PER_POST * np.asarray(followers, dtype=np.float64) * worth * come).sum())


def generator(seed: int, post_id: str) -> np.random.Generator:
    """The luck of one post: the same whenever it is asked for."""
    digest = hashlib.blake2b(f"{seed}:{post_id}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
