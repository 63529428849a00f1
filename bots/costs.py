"""What a bot's platform will charge, predicted from its schedules, its texts and the ages at which it reads; and what a
point of reward has cost.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean

from django.db.models import Count, Q, Sum

from accounts import clock
from bots import slots
from bots.models import Bot, Post
from faces.contract import OutgoingPost
from faces.governor import MICRO
from faces.models import Usage

DAYS = 7
"""Predicted from the slots of a whole week, since days differ."""
TEXTS = 50
LOOKED_BACK = 30
"""Days over which the cost of a reward point is taken: usage is kept for little longer."""


@dataclass(frozen=True)
class Forecast:
    """An average day: posts and billed readings, and what they cost in US dollars."""

    posts: float
    publishing: float
    readings: float
    reading: float

    @property
    def total(self) -> float:
        return self.publishing + self.reading


def forecast(bot: Bot) -> Forecast:
    """An average day of the bot as it is now. A post is billed once for every UTC day on which it is read."""
    face = bot.connection.face
    start = clock.now()
    moments = _slots(bot, start)
    texts = Post.objects.filter(bot=bot).order_by("-created_at").values_list("text", flat=True)[:TEXTS]
    prices = [face.price(OutgoingPost(text)) for text in texts] or [face.price(OutgoingPost("A post."))]
    readings = sum(len({_day(at + timedelta(minutes=age)) for age in bot.reading_ages}) for at in moments) / DAYS
    posts = len(moments) / DAYS
    return Forecast(
        posts=posts,
        publishing=posts * fmean(prices) / MICRO,
        readings=readings,
        reading=readings * face.read_price(["a post"]) / MICRO,
    )


def _slots(bot: Bot, start: datetime) -> list[datetime]:
    end, found, per_day = start + timedelta(days=DAYS), list[datetime](), dict[object, int]()
    for slot in heapq.merge(*(slots.slots_after(schedule, start) for schedule in bot.schedules.filter(active=True))):
        if slot > end:
            break
        day = _day(slot)
        if bot.posts_per_day is None or per_day.get(day, 0) < bot.posts_per_day:
            per_day[day] = per_day.get(day, 0) + 1
            found.append(slot)
    return found


def _day(moment: datetime) -> object:
    return moment.astimezone(UTC).date()


@dataclass(frozen=True)
class PointCost:
    """What a bot's platform charged for it in the last 30 days, in US dollars, and the reward that its posts of that
    time have earned: `points` by the bot's own formula, from `rewarded` posts. `free`: its platform charges nothing.
    """

    free: bool
    spent: float
    points: float
    rewarded: int

    @property
    def per_point(self) -> float | None:
        """None while it is not known: nothing was spent, or the rewards do not add up to more than 0."""
        return self.spent / self.points if self.spent and self.points > 0 else None

    @property
    def sentence(self) -> str:
        if self.free and not self.spent:
            return "Nothing: its platform charges nothing."
        if not self.spent:
            return f"Not yet known: its platform charged nothing in the last {LOOKED_BACK} days."
        spent = f"${self.spent:,.2f} in the last {LOOKED_BACK} days"
        if not self.rewarded:
            return f"Not yet known: {spent}, and no post of that time has its reward yet."
        if self.per_point is None:
            return f"Not yet known: {spent}, and the rewards of that time add up to nothing above 0."
        posts = "1 post" if self.rewarded == 1 else f"{self.rewarded:,} posts"
        return f"${self.per_point:,.4f}: {spent} for {self.points:,.1f} points of {posts}."


def per_reward_point(bot: Bot) -> PointCost:
    """What a point of the bot's reward has cost. Of a connection that several bots share, each carries the share of
    its charges that it has of its published posts. Training on this installation's own machines is not counted.
    """
    face, since = bot.connection.face, clock.now() - timedelta(days=LOOKED_BACK)
    free = not face.price(OutgoingPost("A post.")) and not face.read_price(["a post"])
    charged = Usage.objects.filter(connection=bot.connection, start__gte=since, microdollars__gt=0)
    spent = (charged.aggregate(total=Sum("microdollars"))["total"] or 0) / MICRO
    if not spent:
        return PointCost(free, 0.0, 0.0, 0)
    ours = Q(bot=bot)
    found = Post.objects.filter(connection=bot.connection, published_at__gte=since).aggregate(
        all=Count("pk"),
        ours=Count("pk", filter=ours),
        points=Sum("reward__value", filter=ours),
        rewarded=Count("reward", filter=ours),
    )
    share = found["ours"] / found["all"] if found["all"] else 1.0
    return PointCost(free, spent * share, found["points"] or 0.0, found["rewarded"])
