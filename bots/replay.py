"""Two ways of making rewards, held against each other over the same posts: nothing is stored.

Both formulas see the same readings and the same curve of maturation, so that they differ in nothing but themselves.
Rows in, numbers out; bots/services/reward_studio.py reads and writes them.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from bots import scoring, toxicity
from bots.models import Post
from bots.services.scores import passed_age

TOP = 10
MOVERS = 8
FEWEST_FOR_CORRELATION = 3
ARMS = (Post.Arm.LEARNING, Post.Arm.BASELINE)


@dataclass(frozen=True)
class Scheme:
    """What makes a post's reactions its reward: a formula, and the age in minutes from which a reading counts."""

    formula: str
    reward_age: int


@dataclass(frozen=True)
class LastReading:
    """What a reward needs of a `ScoreObservation`."""

    pk: int
    age_seconds: int
    metrics: dict[str, int]
    followers: int | None


@dataclass(frozen=True)
class Line:
    """One post under both schemes. A value that is missing has its reason. `rank` 1 is the best, among the posts that
    both have a value for; equal values share the mean of their ranks.
    """

    post: Post
    now: float | None
    then: float | None
    why_not_now: str = ""
    why_not_then: str = ""
    rank_now: float | None = None
    rank_then: float | None = None

    @property
    def climbs(self) -> float:
        """By how many ranks the post rises; negative: falls."""
        return self.rank_now - self.rank_then if self.rank_now is not None and self.rank_then is not None else 0.0


@dataclass(frozen=True)
class Arms:
    """The learning arm against the frozen baseline under one scheme: numbers of posts, means, and the difference in
    standard deviations of all these posts' values with its standard error (Welch); None where nobody can tell.
    """

    learning: int
    baseline: int
    learning_mean: float | None = None
    baseline_mean: float | None = None
    difference: float | None = None
    error: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """About 95 % of such differences lie within 1.96 standard errors."""
        if self.difference is None or self.error is None:
            return None
        return self.difference - 1.96 * self.error, self.difference + 1.96 * self.error


@dataclass(frozen=True)
class Missing:
    """Posts without a value for one reason, under each scheme."""

    reason: str
    now: int
    then: int


@dataclass(frozen=True)
class Replay:
    """`lines`: newest first. `pairs` of posts with two different values now, of which `flipped` change sides."""

    lines: list[Line]
    spearman: float | None
    pairs: int
    flipped: int
    top_now: list[Line]
    top_then: list[Line]
    arms_now: Arms
    arms_then: Arms
    missing: list[Missing]

    @property
    def compared(self) -> list[Line]:
        """The posts that have a value under both schemes."""
        return [line for line in self.lines if line.rank_now is not None]

    @property
    def newcomers(self) -> int:
        """How many of the best under the second scheme are not among the best now."""
        return len({line.post.pk for line in self.top_then} - {line.post.pk for line in self.top_now})

    @property
    def movers(self) -> list[Line]:
        """The posts whose rank changes most."""
        moved = sorted((line for line in self.lines if line.climbs), key=lambda line: -abs(line.climbs))
        return moved[:MOVERS]


def compare(
    posts: Sequence[Post], now: Scheme, then: Scheme, ages: Sequence[int], curve: scoring.Curve = scoring.PRIOR
) -> Replay:
    """Replay the posts, newest first, as `reward_studio.recent` has them; `ages` are the bot's reading ages."""
    lines = _ranked([_line(post, now, then, ages, curve) for post in posts])
    both = [(line.now, line.then) for line in lines if line.now is not None and line.then is not None]
    return Replay(
        lines=lines,
        spearman=_correlation([line for line in lines if line.rank_now is not None]),
        pairs=_pairs([value for value, _ in both]),
        flipped=inversions(both),
        top_now=_best(lines, "now"),
        top_then=_best(lines, "then"),
        arms_now=_arms([(line.post.arm, line.now) for line in lines if line.now is not None]),
        arms_then=_arms([(line.post.arm, line.then) for line in lines if line.then is not None]),
        missing=_missing(lines),
    )


def _line(post: Post, now: Scheme, then: Scheme, ages: Sequence[int], curve: scoring.Curve) -> Line:
    before, why_not_now = value_of(post, now, ages, curve)
    after, why_not_then = (before, why_not_now) if then == now else value_of(post, then, ages, curve)
    return Line(post, before, after, why_not_now, why_not_then)


def value_of(post: Post, scheme: Scheme, ages: Sequence[int], curve: scoring.Curve) -> tuple[float | None, str]:
    """The post's reward under a scheme, or None and why."""
    reading = reading_for(post, scheme, ages)
    if reading is None:
        return None, f"Not read at an age of {scheme.reward_age:,} minutes or more."
    try:
        harm = harm_of(post) if "toxicity" in scheme.formula else 0.0
        counts, followers, age = reading.metrics, reading.followers, reading.age_seconds
        return scoring.evaluate(scheme.formula, counts, followers, age, toxicity=harm, curve=curve), ""
    except scoring.FormulaError as error:
        return None, str(error)


def reading_for(post: Post, scheme: Scheme, ages: Sequence[int]) -> LastReading | None:
    """The reading that the reward is made of: the last one, if it was made at the reward's age or later."""
    reading = LastReading(**post.last_reading)  # type: ignore[attr-defined]  # reward_studio.recent
    return reading if ages[passed_age(ages, reading.age_seconds)] >= scheme.reward_age else None


def harm_of(post: Post) -> float:
    """The post's toxicity, as its reward noted it: what was published does not change."""
    noted = post.provenance.get("reward", {}).get("toxicity")
    return float(noted) if noted is not None else toxicity.of(post)


def _ranked(lines: list[Line]) -> list[Line]:
    places = [place for place, line in enumerate(lines) if line.now is not None and line.then is not None]
    before = ranks([-(lines[place].now or 0.0) for place in places])
    after = ranks([-(lines[place].then or 0.0) for place in places])
    for place, rank_now, rank_then in zip(places, before, after, strict=True):
        lines[place] = replace(lines[place], rank_now=rank_now, rank_then=rank_then)
    return lines


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value, 1 for the smallest; equal ones share the mean of their ranks."""
    found = [0.0] * len(values)
    order, first = sorted(range(len(values)), key=values.__getitem__), 1
    for _, equal in groupby(order, key=values.__getitem__):
        places = list(equal)
        for place in places:
            found[place] = first + (len(places) - 1) / 2
        first += len(places)
    return found


def _correlation(lines: Sequence[Line]) -> float | None:
    """Spearman's rank correlation: Pearson's of the ranks. None for fewer than three posts, or all alike."""
    before, after = [line.rank_now or 0.0 for line in lines], [line.rank_then or 0.0 for line in lines]
    if len(lines) < FEWEST_FOR_CORRELATION or min(len(set(before)), len(set(after))) < 2:
        return None
    return statistics.correlation(before, after)


def _pairs(values: Sequence[float]) -> int:
    """Pairs of posts of which one is better than the other."""
    alike = sum(math.comb(count, 2) for count in Counter(values).values())
    return math.comb(len(values), 2) - alike


def inversions(pairs: Sequence[tuple[float, float]]) -> int:
    """How many pairs of points lie the other way round in the second coordinate than in the first."""
    seen: list[float] = []
    count = 0
    for _, equal in groupby(sorted(pairs), key=lambda pair: pair[0]):
        group = [after for _, after in equal]
        count += sum(len(seen) - bisect_right(seen, after) for after in group)
        for after in group:
            insort(seen, after)
    return count


def _best(lines: Sequence[Line], when: str) -> list[Line]:
    valued = [line for line in lines if getattr(line, when) is not None]
    return sorted(valued, key=lambda line: -getattr(line, when))[:TOP]


def _arms(values: Sequence[tuple[str, float]]) -> Arms:
    ours, theirs = ([value for arm, value in values if arm == wanted] for wanted in ARMS)
    our_mean, their_mean = (statistics.fmean(each) if each else None for each in (ours, theirs))
    if min(len(ours), len(theirs)) < 2 or (spread := statistics.stdev([*ours, *theirs])) == 0:
        return Arms(len(ours), len(theirs), our_mean, their_mean)
    error = math.sqrt(statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs))
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    return Arms(len(ours), len(theirs), our_mean, their_mean, difference / spread, error / spread)


def _missing(lines: Sequence[Line]) -> list[Missing]:
    before = Counter(line.why_not_now for line in lines if line.why_not_now)
    after = Counter(line.why_not_then for line in lines if line.why_not_then)
    return [Missing(reason, before[reason], after[reason]) for reason in sorted(before | after)]
