"""Reads that more than one caller shares."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connection
from django.db.models import Aggregate, Count, FloatField, OuterRef, Prefetch, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import Truncator

from accounts.tenancy import tenant
from bots.models import Bot, Post, Reward, ScoreObservation
from bots.services import needs_human, threads
from bots.states import EDITABLE, TRANSITIONS, UPCOMING, PostState


def posts_of(bot: Bot) -> QuerySet[Post]:
    """The bot's posts, newest first, with what a list of them shows."""
    latest = ScoreObservation.objects.filter(post=OuterRef("pk")).order_by("-number")
    return (
        Post.objects.filter(bot=bot)
        .select_related("reward", "schedule", "continues")
        .prefetch_related(Prefetch("images"))
        .annotate(latest_metrics=Subquery(latest.values("metrics")[:1]))
    )


class _Quartiles(Aggregate):
    """The three quartiles of a column, as PostgreSQL computes them."""

    function = "PERCENTILE_CONT"
    template = "%(function)s(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = ArrayField(FloatField())


FEWEST_FOR_SCALE = 8
SCALE_POSTS = 1000


def reward_scale(bot: Bot) -> tuple[float, float] | None:
    """Median and robust standard deviation (interquartile range / 1.349) of the rewards of the bot's newest SCALE_POSTS
    published posts; None while too few, or all are alike. It puts rewards on the scale that predictions are on.
    """
    newest = Post.objects.filter(bot=bot, published_at__isnull=False).order_by("-published_at").values("pk")
    rewards = Reward.objects.filter(post__in=newest[:SCALE_POSTS])
    found = rewards.aggregate(quartiles=_Quartiles("value"), count=Count("pk"))
    if found["count"] < FEWEST_FOR_SCALE:
        return None
    low, median, high = found["quartiles"]
    return (median, (high - low) / 1.349) if high > low else None


def standard_reward(post: Post) -> float | None:
    """The post's reward on the scale that predictions are on; None while it has none, or the bot has too few."""
    scale = reward_scale(post.bot) if hasattr(post, "reward") else None
    return (post.reward.value - scale[0]) / scale[1] if scale else None


def post_cards(bot: Bot, posts: Iterable[Post], slug: str) -> list[dict[str, Any]]:
    """Posts as the pages show them."""
    scale = reward_scale(bot)
    return [_card(bot, post, slug, scale) for post in posts]


def post_card(bot: Bot, post: Post, slug: str) -> dict[str, Any]:
    """One post as the pages show it."""
    return _card(bot, post, slug, reward_scale(bot))


def _card(bot: Bot, post: Post, slug: str, scale: tuple[float, float] | None) -> dict[str, Any]:
    raw = post.reward.value if hasattr(post, "reward") else None
    version = post.provenance.get("version")
    return {
        "id": str(post.pk),
        "text": post.text,
        "short": Truncator(post.text).chars(40),
        "url": reverse("bots:post-detail", args=[slug, bot.pk, post.pk]),
        "reply_to": post.reply_to,
        "continues": post.continues_id,
        "state": post.state,
        "state_label": post.get_state_display(),
        "arm": post.arm,
        "arm_label": post.get_arm_display(),
        "predicted": post.provenance.get("predicted"),
        "reward": (raw - scale[0]) / scale[1] if raw is not None and scale else None,
        "raw_reward": raw,
        "reward_missing": post.provenance.get("reward", {}).get("missing", ""),
        "metrics": getattr(post, "latest_metrics", None) or {},
        "publish_at": post.slot_utc,
        "published_at": post.published_at,
        "model_version": f"v{version}" if version else "",
        "error": post.last_error if post.state in ERROR_STATES else "",
        "waits_for": _waits_for(post),
        "sha256": post.payload_sha256,
        "images": [
            {"url": reverse("bots:post-image", args=[slug, bot.pk, post.pk, image.pk]), "alt_text": image.alt_text}
            for image in post.images.all()
        ],
        "may_edit": post.state in EDITABLE,
        "acts": _acts(bot, post, slug),
    }


ACTS: dict[str, list[dict[str, str]]] = {
    "approve": [
        {"page": "post-approve", "verb": "approve", "label": "Approve", "look": "button--primary"},
        {"page": "post-publish-now", "verb": "publish", "label": "Publish now"},
        {"page": "post-decline", "verb": "decline", "label": "Decline"},
        {
            "page": "post-take-down",
            "verb": "take-down",
            "label": "Take down",
            "look": "button--quiet",
            "question": "Take this post down from the platform? It cannot be put back.",
        },
    ],
    "write": [
        {"page": "post-cancel", "verb": "cancel", "label": "Cancel", "question": "Cancel this post for good?"},
    ],
}
"""What can be done with one click, by who may: those who approve posts, and those who write them."""


def _acts(bot: Bot, post: Post, slug: str) -> dict[str, list[dict[str, str]]]:
    """Those that its state allows, each with its address; {} where there is none."""
    possible, at = _possible(post), [slug, bot.pk, post.pk]
    found = {
        who: [act | {"url": reverse(f"bots:{act['page']}", args=at)} for act in acts if act["page"] in possible]
        for who, acts in ACTS.items()
    }
    return found if possible else {}


def _possible(post: Post) -> set[str]:
    """Which of the acts its state allows."""
    steps = TRANSITIONS[PostState(post.state)]
    declines = PostState.DECLINED in steps
    allowed = {
        "post-approve": PostState.APPROVED in steps and post.state == PostState.PENDING_REVIEW,
        "post-publish-now": post.state in (PostState.APPROVED, PostState.SCHEDULED) and not threads.waiting_for(post),
        "post-decline": declines,
        "post-take-down": post.state == PostState.PUBLISHED,
        "post-cancel": PostState.CANCELLED in steps and post.state in UPCOMING and not declines,
    }
    return {page for page, may in allowed.items() if may}


def _waits_for(post: Post) -> str:
    """Why a post that is approved or due is not sent yet, where there is more to say than its slot."""
    if post.state not in (PostState.APPROVED, PostState.SCHEDULED, PostState.QUEUED):
        return ""
    return threads.waiting_for(post) or (post.last_error if post.state == PostState.QUEUED else "")


ERROR_STATES = frozenset({PostState.REJECTED, PostState.UNKNOWN, PostState.NEEDS_HUMAN, PostState.CANCELLED})


def next_posts(bot: Bot, count: int = 6) -> QuerySet[Post]:
    """What the bot says next: posts with a slot, soonest first, then approved ones that wait for one."""
    upcoming = [state for state in UPCOMING if state != PostState.PENDING_REVIEW]
    return posts_of(bot).filter(state__in=upcoming).order_by("slot_utc", "approved_at")[:count]


COUNTED = 1000
_COUNTS = """
SELECT state, (
    SELECT count(*) FROM (
        SELECT FROM bots_post WHERE bot_id = %s AND state = known.state ORDER BY created_at DESC LIMIT %s
    ) bounded
)
FROM unnest(%s::text[]) AS known(state)
"""
"""In the order of an index: without one the planner may read the whole table for a state that no post is in."""


def counts_by_state(bot: Bot) -> dict[str, int]:
    """How many posts of the bot there are in each state that has some; `COUNTED` + 1 stands for more than that."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, [bot.pk, COUNTED + 1, list(PostState.values)])
        return {state: count for state, count in cursor.fetchall() if count}


def state_of(bot: Bot) -> tuple[str, str]:
    """The bot's state in one word, and in words for people."""
    if bot.organization.paused_at:
        return "paused", "Organization paused"
    if bot.paused_at:
        return "paused", "Paused"
    return "active", "Active"


def needs_human_context(request: HttpRequest) -> dict[str, Any]:
    """Template context: how many posts of the organization need a person. Asked for by whole pages only."""
    organization = getattr(request, "organization", None)
    if organization is None:
        return {}

    @cache
    def count() -> int:
        with tenant(organization.pk):  # error pages are made after the view has left it
            return needs_human.waiting()

    return {"needs_human_count": count}
