"""How reactions come in with a post's age: a curve F(age), learned from posts that were read more than once.

A post's later reading tells what share of its reactions an earlier one had already seen. Readings of all the
organization's bots on one kind of face are pooled, and the curve is drawn towards a prior, so that few posts change
little.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from itertools import pairwise
from uuid import UUID

from django.db.models import QuerySet

from accounts import clock
from bots.models import Bot, ScoreObservation
from bots.scoring import EXPOSURES, PRIOR, Curve, is_ratio
from faces.models import Connection

SPREAD = 0.3
"""Standard deviation of the prior beliefs about ln(half-life) and ln(shape)."""
MOST_WEIGHT = 10.0
"""One pair of readings counts for at most so many reactions: posts differ in more than chance."""
MOST_READINGS = 2000
MANY_READINGS = 5000
"""Of an organization: from here on those of one kind of face are not counted any more, which would take longer than
all else of a page."""
YOUNG = 3.0
"""Full-grown logarithmic scores vary by about 1/3 by chance alone."""
GROWTH = 1.25
"""A curve is fitted anew when the readings have grown by this factor."""


@dataclass(frozen=True)
class Pair:
    """Two readings of one post: ages in minutes, `early` < `late`, and the reactions seen by then."""

    early: float
    early_count: int
    late: float
    late_count: int


def fit(pairs: Sequence[Pair], posts: int = 0) -> Curve:
    """The curve that best explains the pairs, drawn towards the prior; `posts` is only noted in it.

    Of the reactions that a post has at its later age, each had come by the earlier one with probability
    F(early) / F(late): a binomial likelihood, each pair weighing n/(n + 10) times 10 reactions for n seen. With
    F(a) = 1 − 2^(−(a/h)^s), the log posterior of (ln h, ln s) is climbed by compass search; it has one summit in
    practice, and 1e-3 is finer than any data set tells. Whatever the pairs, F rises with age.
    """
    weighed = [
        (pair.early, pair.late, min(1.0, pair.early_count / pair.late_count), _weight(pair.late_count))
        for pair in pairs
        if pair.late_count > 0 and pair.late > pair.early
    ]

    def loss(log_half_life: float, log_shape: float) -> float:
        curve = Curve(math.exp(log_half_life), math.exp(log_shape))
        total = (((log_half_life - math.log(PRIOR.half_life)) / SPREAD) ** 2 + (log_shape / SPREAD) ** 2) / 2
        for early, late, seen, weight in weighed:
            share = min(max(curve.exact(early) / max(curve.exact(late), 1e-12), 1e-6), 1 - 1e-6)
            total -= weight * (seen * math.log(share) + (1 - seen) * math.log1p(-share))
        return total

    place, step = (math.log(PRIOR.half_life), 0.0), 0.4
    best = loss(*place)
    while step > 1e-3:
        around = [(place[0] + dx, place[1] + dy) for dx, dy in ((step, 0), (-step, 0), (0, step), (0, -step))]
        lowest, nearest = min((loss(*spot), spot) for spot in around)
        if lowest < best:
            best, place = lowest, nearest
        else:
            step /= 2
    return Curve(math.exp(place[0]), math.exp(place[1]), posts)


def _weight(count: int) -> float:
    return MOST_WEIGHT * count / (count + MOST_WEIGHT)


def reactions(metrics: Mapping[str, int]) -> int:
    """All reactions of a reading together; how often a post was seen is none, and a ratio is no number of them."""
    return sum(count for name, count in metrics.items() if name not in EXPOSURES and not is_ratio(name))


def noise(metrics: Mapping[str, int], share: float) -> float:
    """Variance of the noise in a score's logarithm of such a reading, 1 at full age: 1 + c (1 − F) / (reactions + 1).

    Of n reactions a share F has come, so the logarithm of n estimated from them varies by (1 − F) / (F n); `YOUNG`, c,
    puts this in units of the noise that full-grown scores have anyway.
    """
    return 1.0 + YOUNG * (1.0 - share) / (reactions(metrics) + 1)


def curve_for(bot: Bot) -> Curve:
    """The curve of the bot's kind of face, from the readings in hand; to be called within the organization's tenant.

    Asked again, it is the same: it changes only when the readings have grown by a quarter, and depends on nothing but
    the first so many of them (of which the newest 2,000). Once the organization has MANY_READINGS of all kinds, it
    changes once a day, and depends on the newest 2,000 of the days before.
    """
    kind = bot.connection.kind
    by_index = ScoreObservation.objects.order_by("-observed_at", "-pk")
    if by_index[:MANY_READINGS].count() == MANY_READINGS:
        return _fitted_daily(bot.organization_id, kind, clock.now().date())
    return _fitted(bot.organization_id, kind, _milestone(_readings(kind).count()))


def maturity_curve(bot: Bot) -> list[tuple[float, float]]:
    """(age in minutes, F) at each age at which the bot's posts are read: the curve as a chart shows it."""
    curve = curve_for(bot)
    return [(age, curve.share(age * 60.0)) for age in bot.reading_ages]


def _milestone(readings: int) -> int:
    """The largest of 1, 2, 3, 4, 5, 7, 9, 12, 15, … (each a quarter more) that has been reached; 0 for none."""
    reached, following = 0, 1
    while following <= readings:
        reached, following = following, max(following + 1, math.ceil(following * GROWTH))
    return reached


@lru_cache(maxsize=256)
def _fitted(organization_id: UUID, kind: str, readings: int) -> Curve:
    first = max(0, readings - MOST_READINGS)
    return _fit(_readings(kind).order_by("pk")[first:readings])


@lru_cache(maxsize=256)
def _fitted_daily(organization_id: UUID, kind: str, day: date) -> Curve:
    before = _readings(kind).filter(observed_at__lt=datetime.combine(day, time(), UTC))
    return _fit(before.order_by("-observed_at", "-pk")[:MOST_READINGS])


def _fit(readings: QuerySet[ScoreObservation]) -> Curve:
    by_post: dict[UUID, list[tuple[float, int]]] = {}
    for post_id, age_seconds, metrics in readings.values_list("post_id", "age_seconds", "metrics"):
        by_post.setdefault(post_id, []).append((age_seconds / 60.0, reactions(metrics)))
    pairs = [pair for seen in by_post.values() for pair in _pairs(seen)]
    return fit(pairs, sum(len(seen) > 1 for seen in by_post.values()))


def _pairs(seen: Iterable[tuple[float, int]]) -> list[Pair]:
    """Neighbours in age."""
    return [Pair(*early, *late) for early, late in pairwise(sorted(seen))]


def _readings(kind: str) -> QuerySet[ScoreObservation]:
    # Named one by one, so that the planner knows whether they have few posts or most.
    connections = list(Connection.objects.filter(kind=kind).values_list("pk", flat=True))
    return ScoreObservation.objects.filter(post__connection__in=connections)
