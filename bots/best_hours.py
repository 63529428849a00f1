"""At which hours a bot's posts did well: a suggestion from its own rewards, with how much is known.

An hour's effect is drawn towards nothing as if `SHRINK` average posts had been sent in it as well, so that a few lucky
posts make no best hour. Even so the best of many hours is partly the luckiest: what follows is a suggestion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean, median
from zoneinfo import ZoneInfo

from accounts import clock
from bots import slots
from bots.models import Bot, Post, Schedule

FEWEST = 30
"""Posts with a reward, below which nothing is suggested."""
FEWEST_IN_HOUR = 3
"""An hour with fewer posts is shown, but not suggested."""
NEWEST = 1000
"""Of the bot's posts, so many are looked at."""
SHRINK = 8.0
CLIP = 3.0
Z = 1.959964
"""Two-sided 95 % of the standard normal."""
MOST_HOURS = 6


@dataclass(frozen=True)
class Effect:
    """What an hour (0–23) or weekday (0–6, Monday first) adds to a post's reward, in standard deviations of rewards:
    the estimate with its 95 % interval, from `posts` posts whose own standard deviation is `spread` (0 for one post).
    """

    at: int
    posts: int
    value: float
    low: float
    high: float
    spread: float


@dataclass(frozen=True)
class Suggestion:
    """`best`: the hours to use, earliest first, empty when there is nothing to suggest, with the reason in `why_not`.
    `hours` and `weekdays`: every one with a post. `per_day`: how many hours were asked for.
    """

    zone: str
    posts: int
    hours: tuple[Effect, ...] = ()
    weekdays: tuple[Effect, ...] = ()
    best: tuple[Effect, ...] = ()
    why_not: str = ""

    @property
    def timetable(self) -> list[str]:
        """The suggested hours on every day, as a schedule has them."""
        return [f"{day} {effect.at:02}:00" for day in slots.DAYS for effect in self.best]


def suggest(bot: Bot, zone: str) -> Suggestion:
    """The best hours of a day in that time zone: as many as the bot's schedules have a day, at most `MOST_HOURS`."""
    rows = list(
        Post.objects.filter(bot=bot, published_at__isnull=False, reward__isnull=False, kind=Post.Kind.NEW)
        .order_by("-published_at")
        .values_list("published_at", "reward__value")[:NEWEST]
    )
    return judge(rows, zone, _per_day(bot))


def judge(rows: Sequence[tuple[datetime, float]], zone: str, per_day: int) -> Suggestion:
    """A suggestion from (moment of publication, reward).

    Rewards become standard units, (r − median) / (1.4826 · MAD), clipped to ±3. Of n posts in an hour with the mean m,
    against the mean of all, m̄, the effect is (m − m̄) n / (n + 8), with a standard deviation of s / √(n + 8), where s is
    that of posts around the mean of their hour.
    """
    if len(rows) < FEWEST:
        missing = f"{FEWEST} posts with a reward are needed, {FEWEST - len(rows)} more."
        return Suggestion(zone, len(rows), why_not=f"Not yet known: {missing}")
    units = _standard([reward for _, reward in rows])
    if not any(units):
        return Suggestion(zone, len(rows), why_not="All posts had the same reward: no hour is better than another.")
    local = [moment.astimezone(ZoneInfo(zone)) for moment, _ in rows]
    hours = _effects([moment.hour for moment in local], units)
    weekdays = _effects([moment.weekday() for moment in local], units)
    if len(hours) < 2:
        return Suggestion(
            zone, len(rows), hours, weekdays, why_not="All posts were sent in the same hour: send some at other times."
        )
    good = [effect for effect in hours if effect.value > 0 and effect.posts >= FEWEST_IN_HOUR]
    good = sorted(good, key=lambda effect: -effect.value)[:per_day]
    return Suggestion(zone, len(rows), hours, weekdays, tuple(sorted(good, key=lambda effect: effect.at)))


def _standard(rewards: Sequence[float]) -> list[float]:
    """Zeros where all are alike. More than half alike, but not all: scaled by the standard deviation."""
    centre = median(rewards)
    off = [reward - centre for reward in rewards]
    spread = 1.4826 * median(map(abs, off)) or math.sqrt(fmean((reward - fmean(rewards)) ** 2 for reward in rewards))
    return [max(-CLIP, min(CLIP, each / spread)) if spread else 0.0 for each in off]


def _effects(places: Sequence[int], values: Sequence[float]) -> tuple[Effect, ...]:
    groups: dict[int, list[float]] = {}
    for place, value in zip(places, values, strict=True):
        groups.setdefault(place, []).append(value)
    middle = fmean(values)
    within = sum(_squares(group) for group in groups.values()) / max(1, len(values) - len(groups))
    return tuple(_effect(place, groups[place], middle, math.sqrt(within)) for place in sorted(groups))


def _effect(place: int, group: Sequence[float], middle: float, within: float) -> Effect:
    count = len(group)
    value = (fmean(group) - middle) * count / (count + SHRINK)
    half = Z * within / math.sqrt(count + SHRINK)
    spread = math.sqrt(_squares(group) / (count - 1)) if count > 1 else 0.0
    return Effect(place, count, value, value - half, value + half, spread)


def _squares(group: Iterable[float]) -> float:
    found = list(group)
    middle = fmean(found)
    return sum((value - middle) ** 2 for value in found)


def _per_day(bot: Bot) -> int:
    """How many posts an average day of the coming week has by the bot's schedules, 1 to `MOST_HOURS`."""
    now, most = clock.now(), MOST_HOURS * 7
    planned = 0
    for schedule in Schedule.objects.filter(bot=bot, active=True):
        planned += sum(slot - now <= timedelta(days=7) for slot in slots.upcoming(schedule, now, most))
    return max(1, min(MOST_HOURS, round(planned / 7)))
