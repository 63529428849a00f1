"""What a round of online learning is told: past posts on a common scale, published posts with their rewards, and what
is under way.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet

from bots.models import Bot, Decision, Post, Schedule
from bots.states import UPCOMING, PostState
from training.engine import types
from training.engine.round_types import ScoredPost
from training.engine.types import Conditions, HistoricPost, TrainingPost
from training.models import Example, ModelVersion, Run

NOT_COMPARED = Q(arm=Post.Arm.HUMAN) | Q(kind=Post.Kind.REPLY)
"""Posts that are no lesson for a policy that writes new posts: people's own, and replies, which meet other readers."""
_SPOKEN = (*UPCOMING, PostState.PUBLISHED, PostState.UNKNOWN, PostState.NEEDS_HUMAN, PostState.DELETED)


def origin_of(version: ModelVersion) -> ModelVersion:
    """The fine-tuned version that a lineage began with: the reference and the baseline arm of all that came after."""
    while version.parent is not None:
        version = version.parent
    return version


def training_posts(run: Run) -> list[TrainingPost]:
    """What an offline run learns from: every post it may, with what is known of its circumstances and its weight.

    Posts stand in order of time, and datasets side by side, each spread over the whole list: the newest tenth of the
    list is the newest tenth of each. With `mixing` "equal" a dataset's weights add up to the same, whatever its size,
    times its own weight; the mean weight stays that of the datasets.
    """
    rows_of = {source: list(_learnable(dataset=source.dataset_id)) for source in run.sources.all()}
    total, filled = sum(map(len, rows_of.values())), sum(map(bool, rows_of.values()))
    placed: list[tuple[float, TrainingPost]] = []
    for source, rows in rows_of.items():
        equal = total / (filled * len(rows)) if rows and run.config.get("mixing") == "equal" else 1.0
        for at, (pk, text, author, community, topic, context) in enumerate(rows):
            conditions = Conditions(author, community, topic, context)
            post = TrainingPost(text, str(pk), conditions, source.weight * equal)
            placed.append(((at + 0.5) / len(rows), post))
    return [post for _, post in sorted(placed, key=itemgetter(0))]


def _learnable(**which: Any) -> QuerySet[Example, tuple[Any, ...]]:
    rows = Example.objects.filter(may_learn=True, quarantined="", **which).order_by("posted_at", "position")
    return rows.values_list("pk", "text", "author", "community", "topic", "context")


def training_texts(version: ModelVersion) -> list[str]:
    """What a fine-tuned version has learned from: what its texts are compared with."""
    learned = Example.objects.filter(dataset__uses__run=version.run_id, may_learn=True, quarantined="")
    return list(learned.values_list("text", flat=True))


def historic_posts(run: Run) -> tuple[HistoricPost, ...]:
    """The examples that the run's lineage was fine-tuned on, each with its score in standard units where it has one.

    A score is log1p(count) minus its community's mean, divided by the standard deviation over all: communities differ
    in size, and counts are heavy-tailed.
    """
    assert run.start_version is not None  # the database's check: online runs have one
    origin = origin_of(run.start_version)
    if origin.run is None:
        return ()
    rows = list(
        Example.objects.filter(dataset__uses__run=origin.run, dataset__may_learn=True, may_learn=True, quarantined="")
        .exclude(dataset__harvest__connection__may_learn=False)  # taken back since
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
        .exclude(NOT_COMPARED)
        .order_by("published_at", "created_at", "pk")
        .values_list("pk", "text", "arm", "reward__value", "published_at", "provenance")
    )
    lineages = {str(run.pk): str(_lineage(run)) for run in Run.objects.filter(bot=bot, kind=Run.Kind.ONLINE)}
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
                predicted_sd=provenance.get("predicted_sd"),
                noise=provenance.get("reward", {}).get("noise", 1.0),
                lineage=lineages.get(provenance.get("run", ""), ""),
            )
        )
    return tuple(scored)


def _lineage(run: Run) -> object:
    """Key of the frozen version that an online run's baseline arm speaks with."""
    assert run.start_version is not None  # the database's check: online runs have one
    return origin_of(run.start_version).pk


def decisions(bot: Bot) -> tuple[types.Decision, ...]:
    """What people decided about posts that the bot's models wrote, in order of time.

    An edit declines the old wording in favour of the new one. Of several decisions on one wording of a post the last
    counts: who declines a post, takes it back and approves it has approved it.
    """
    rows = (
        Decision.objects.filter(post__bot=bot, post__kind=Post.Kind.NEW)
        .exclude(post__arm=Post.Arm.HUMAN)
        .order_by("at", "pk")
        .values_list("post", "choice", "text", "original_text")
    )
    last: dict[tuple[object, str], types.Decision] = {}
    for post, choice, text, original in rows:
        if choice == Decision.Choice.EDITED:
            judged = types.Decision(original, "declined", rewritten=text)
        else:
            judged = types.Decision(text, "approved" if choice == Decision.Choice.APPROVED else "declined")
        if judged.text.strip():  # a post of an image alone has no words to learn from
            last.pop((post, judged.text), None)  # so that the last decision also stands last
            last[post, judged.text] = judged
    return tuple(last.values())


def rewarded_count(bot: Bot) -> int:
    return Post.objects.filter(bot=bot, reward__isnull=False).exclude(NOT_COMPARED).count()


def spoken_texts(bot: Bot) -> tuple[str, ...]:
    """Everything the bot has published, also what was taken down since, or is about to, oldest first: what a new post
    must not repeat.
    """
    return tuple(Post.objects.filter(bot=bot, state__in=_SPOKEN).order_by("created_at").values_list("text", flat=True))


def other_texts(bot: Bot) -> tuple[str, ...]:
    """Those of the `spoken_texts` that the learning arm did not write: the baseline's, people's own, and replies."""
    spoken = Post.objects.filter(bot=bot, state__in=_SPOKEN)
    return tuple(spoken.filter(~Q(arm=Post.Arm.LEARNING) | Q(kind=Post.Kind.REPLY)).values_list("text", flat=True))


def upcoming_count(bot: Bot) -> int:
    """Posts that were proposed and not yet sent. Where posts are approved by themselves, the few that a rule set
    aside do not hold up the rest.
    """
    posts = Post.objects.filter(bot=bot, state__in=UPCOMING).exclude(NOT_COMPARED)
    if bot.approval == Bot.Approval.AUTO:
        posts = posts.exclude(state=PostState.PENDING_REVIEW)
    return posts.count()


def awaiting_reward(bot: Bot) -> int:
    """Published posts whose reward is still to come."""
    waiting = Q(state=PostState.PUBLISHED, reward__isnull=True, next_reading_at__isnull=False)
    return Post.objects.filter(waiting, bot=bot).exclude(NOT_COMPARED).count()
