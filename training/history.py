"""What a round of online learning is told: past posts on a common scale, published posts with their rewards, and what
is under way.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from zoneinfo import ZoneInfo

from django.db.models import Q

from bots.models import Bot, Post, Schedule
from bots.states import UPCOMING, PostState
from training.engine.types import HistoricPost, ScoredPost
from training.models import Example, ModelVersion, Run


def origin_of(version: ModelVersion) -> ModelVersion:
    """The fine-tuned version that a lineage began with: the reference and the baseline arm of all that came after."""
    while version.parent is not None:
        version = version.parent
    return version


def historic_posts(run: Run) -> tuple[HistoricPost, ...]:
    """The examples that the run's lineage was fine-tuned on, each with its score in standard units where it has one.

    A score is log1p(count) minus its community's mean, divided by the standard deviation over all: communities differ
    in size, and counts are heavy-tailed.
    """
    assert run.start_version is not None  # the database's check: online runs have one
    origin = origin_of(run.start_version)
    if origin.run is None or origin.run.dataset_id is None:
        return ()
    rows = list(
        Example.objects.filter(dataset=origin.run.dataset_id, may_learn=True)
        .order_by("posted_at", "position")
        .values_list("text", "score", "community")
    )
    logs: dict[str, list[float]] = defaultdict(list)
    for _, score, community in rows:
        if score is not None:
            logs[community].append(math.log1p(max(score, 0.0)))
    means = {community: statistics.fmean(values) for community, values in logs.items()}
    spread = (
        statistics.pstdev([value - means[name] for name, values in logs.items() for value in values]) if logs else 0.0
    )
    return tuple(
        HistoricPost(
            text, None if score is None else (math.log1p(max(score, 0.0)) - means[community]) / (spread or 1.0)
        )
        for text, score, community in rows
    )


def scored_posts(bot: Bot) -> tuple[ScoredPost, ...]:
    """Every post of the bot that has its reward, in the order of publication."""
    schedule = Schedule.objects.filter(bot=bot).first()
    zone = ZoneInfo(schedule.zone if schedule else "UTC")
    rows = (
        Post.objects.filter(bot=bot, reward__isnull=False, published_at__isnull=False)
        .exclude(arm=Post.Arm.HUMAN)
        .order_by("published_at", "created_at", "pk")
        .values_list("pk", "text", "arm", "reward__value", "published_at", "provenance")
    )
    scored = []
    for order, (pk, text, arm, value, published_at, provenance) in enumerate(rows):
        local = published_at.astimezone(zone)
        scored.append(
            ScoredPost(
                key=str(pk),
                text=text,
                arm=arm,
                reward=value,
                hour_of_week=local.weekday() * 24 + local.hour,
                published_order=order,
                predicted=provenance.get("predicted"),
            )
        )
    return tuple(scored)


def rewarded_count(bot: Bot) -> int:
    return Post.objects.filter(bot=bot, reward__isnull=False).exclude(arm=Post.Arm.HUMAN).count()


def spoken_texts(bot: Bot) -> tuple[str, ...]:
    """Everything the bot has published or is about to, oldest first: what a new post must not repeat."""
    states = [*UPCOMING, PostState.PUBLISHED, PostState.UNKNOWN, PostState.NEEDS_HUMAN]
    return tuple(Post.objects.filter(bot=bot, state__in=states).order_by("created_at").values_list("text", flat=True))


def upcoming_count(bot: Bot) -> int:
    """Posts that were proposed and not yet sent. Where posts are approved by themselves, the few that a rule set
    aside do not hold up the rest.
    """
    posts = Post.objects.filter(bot=bot, state__in=UPCOMING).exclude(arm=Post.Arm.HUMAN)
    if bot.approval == Bot.Approval.AUTO:
        posts = posts.exclude(state=PostState.PENDING_REVIEW)
    return posts.count()


def awaiting_reward(bot: Bot) -> int:
    """Published posts whose reward is still to come."""
    waiting = Q(state=PostState.PUBLISHED, reward__isnull=True, next_reading_at__isnull=False)
    return Post.objects.filter(waiting, bot=bot).exclude(arm=Post.Arm.HUMAN).count()
