"""What a bot's platform will charge: predicted from its schedules, its texts and the ages at which it reads."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import fmean

from accounts import clock
from bots import slots
from bots.models import Bot, Post
from faces.contract import OutgoingPost
from faces.governor import MICRO

DAYS = 7
"""Predicted from the slots of a whole week, since days differ."""
TEXTS = 50


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
