"""Reading reactions at growing ages, and turning them into rewards."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts import clock
from accounts.tenancy import tenant
from bots import live, maturation, scoring, toxicity
from bots.models import Bot, Post, Reward, ScoreObservation
from bots.states import PostState
from faces import governor
from faces.contract import FaceError, OutgoingPost, Reading
from faces.models import Connection
from faces.services import mark_broken

log = logging.getLogger(__name__)

BATCH = 500
WAITING_TO_BE_SENT = (PostState.SCHEDULED, PostState.QUEUED, PostState.LEASED)
RETRY = timedelta(seconds=60)
"""When a reading that failed, or whose reader vanished, is tried again."""


def read_due_scores() -> int:
    """Read the reactions of every post whose next reading is due, one batch per connection. Returns how many were
    read.
    """
    # everyone: beat's sweep finds what is due in all organizations, then enters each one's tenant.
    due = Post.everyone.filter(
        next_reading_at__lte=clock.now(),
        state=PostState.PUBLISHED,
        connection__state=Connection.State.CONNECTED,
        organization__deletion_requested_at=None,
    )
    batches: dict[tuple[UUID, UUID], list[UUID]] = defaultdict(list)
    for organization_id, connection_id, post_id in due.order_by("next_reading_at").values_list(
        "organization_id", "connection_id", "pk"
    )[:BATCH]:
        batches[organization_id, connection_id].append(post_id)
    read = 0
    for (organization_id, connection_id), post_ids in batches.items():
        with tenant(organization_id):
            try:
                read += _read_batch(Connection.objects.get(pk=connection_id), post_ids)
            except Exception:  # a fault with one connection must not keep the others waiting
                log.exception("connection %s: reactions could not be read", connection_id)
    return read


def _read_batch(connection: Connection, post_ids: list[UUID]) -> int:
    now = clock.now()
    # Claimed by moving the due time: a second reader finds nothing, and a reader that vanishes delays by a minute.
    with transaction.atomic():
        posts = list(
            Post.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("bot")
            .filter(pk__in=post_ids, next_reading_at__lte=now, state=PostState.PUBLISHED)
        )
        Post.objects.filter(pk__in=[post.pk for post in posts]).update(next_reading_at=now + RETRY)
    posts = _within_means(connection, posts, now)
    if not posts:
        return 0
    remote_ids = [_remote_id(post) for post in posts]
    try:
        readings = connection.face.metrics(remote_ids)
    except FaceError as error:
        if error.credentials:
            mark_broken(connection, str(error))
        governor.told_to_wait(connection, "read", error)
        log.warning("connection %s: reactions could not be read: %s", connection.pk, error)
        return 0
    governor.book_reading(connection, remote_ids)
    speed = connection.face.clock_speed()
    for post in posts:
        _book_reading(post, readings.get(_remote_id(post)), now, speed, simulated=connection.simulated)
    for bot_id in {post.bot_id for post in posts}:
        live.tell(bot_id, {"type": "post", "post": "", "state": "scored"})
    return len(posts)


def _within_means(connection: Connection, posts: list[Post], now: datetime) -> list[Post]:
    """The posts that may be read now by the platform's limits and the day's budget, counted as read; the others wait.

    Readings that give a reward come first. What the day's posts will still cost is kept back for them.
    """
    posts = sorted(posts, key=lambda post: (not _gives_reward(post), post.published_at))
    paid = set(governor.affordable(connection, [_remote_id(post) for post in posts], still_to_publish(connection)))
    tomorrow = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    _postpone([post for post in posts if _remote_id(post) not in paid], tomorrow)
    posts = [post for post in posts if _remote_id(post) in paid]
    if not posts:
        return []
    calls = math.ceil(len(posts) / connection.capabilities.batch)
    price = governor.reading_price(connection, [_remote_id(post) for post in posts])
    if wait := governor.admit(connection, "read", calls=calls, microdollars=price):
        _postpone(posts, wait.until)
        return []
    return posts


def _postpone(posts: list[Post], until: datetime) -> None:
    Post.objects.filter(pk__in=[post.pk for post in posts]).update(next_reading_at=until)


def _gives_reward(post: Post) -> bool:
    ages = post.bot.reading_ages
    return post.readings_due < len(ages) and bool(ages[post.readings_due] >= post.bot.reward_age)


def still_to_publish(connection: Connection) -> int:
    """What the posts that are due within a day will cost, in millionths of a dollar."""
    if connection.daily_budget is None:
        return 0
    face, soon = connection.face, clock.now() + timedelta(days=1)
    texts = Post.objects.filter(connection=connection, state__in=WAITING_TO_BE_SENT, slot_utc__lt=soon)
    return sum(face.price(OutgoingPost(text)) for text in texts.values_list("text", flat=True))


def _remote_id(post: Post) -> str:
    assert post.remote_id is not None  # the database's check: published posts have it
    return post.remote_id


@transaction.atomic
def _book_reading(post: Post, reading: Reading | None, now: datetime, speed: float, *, simulated: bool) -> None:
    locked = Post.objects.select_for_update(of=("self",)).select_related("bot__connection")
    post = locked.get(pk=post.pk)
    if post.state != PostState.PUBLISHED:  # taken down while the platform was asked: what it answered came too late
        return
    assert post.published_at is not None  # the database's check: published posts have it
    if reading is None:
        _book_gone(post)
        return
    age = max(0.0, (now - post.published_at).total_seconds() * speed)
    ages = post.bot.reading_ages
    passed = passed_age(ages, age)
    observation, created = ScoreObservation.objects.get_or_create(
        post=post,
        number=passed,
        defaults={
            "age_seconds": int(age),
            "metrics": dict(reading.metrics),
            "followers": reading.followers,
            "simulated": simulated,
            "observed_at": now,
        },
    )
    if created and ages[passed] >= post.bot.reward_age:
        give_reward(post.bot, post, observation)
    following = passed + 1
    next_at = post.published_at + timedelta(minutes=ages[following]) / speed if following < len(ages) else None
    Post.objects.filter(pk=post.pk).update(readings_due=following, next_reading_at=next_at)


def passed_age(ages: Sequence[int], age_seconds: float) -> int:
    """Which of a bot's reading ages (minutes) a post of this age passed last, as its place; 0 before the first, too."""
    return max((number for number, minutes in enumerate(ages) if minutes * 60 <= age_seconds + 1), default=0)


def _book_gone(post: Post) -> None:
    """The post is gone from the platform: what was read stays, nothing more will come."""
    post.next_reading_at = None
    post.save(update_fields=["next_reading_at", "updated_at"])
    if not Reward.objects.filter(post=post).exists():
        _note(post, missing="The post was gone from the platform before its reactions could count as its reward.")


def note_taken_down(post: Post) -> None:
    """Say of a post that was just taken down why it will never have a reward, where it has none and nothing is said
    yet.
    """
    post.refresh_from_db(fields=["provenance"])  # a reading may have been booked while the platform was asked
    if "reward" not in post.provenance and not Reward.objects.filter(post=post).exists():
        _note(post, missing="The post was taken down before its reactions could count as its reward.")


def give_reward(bot: Bot, post: Post, observation: ScoreObservation) -> Reward | None:
    """Compute a post's reward from an observation by the bot's formula. None when the formula has no value for it.

    The post's provenance notes under “reward” what went into it besides the observation, or why it is missing.
    """
    curve, harm = maturation.curve_for(bot), toxicity.of(post)
    try:
        value = scoring.evaluate(
            bot.score_formula,
            observation.metrics,
            observation.followers,
            observation.age_seconds,
            toxicity=harm,
            curve=curve,
        )
    except scoring.FormulaError as error:
        log.warning("post %s: no reward: %s", post.pk, error)
        if not Reward.objects.filter(post=post).exists():
            _note(post, missing=f"The formula {bot.score_formula} has no value for this post. {error}")
        return None
    reward: Reward
    reward, _ = Reward.objects.update_or_create(
        post=post,
        defaults={"observation": observation, "value": value, "formula": bot.score_formula, "computed_at": clock.now()},
    )
    _note(post, **ingredients(observation.age_seconds, observation.metrics, curve, harm))
    return reward


def ingredients(age_seconds: int, metrics: dict[str, int], curve: scoring.Curve, harm: float) -> dict[str, float]:
    """What went into a reward besides the reading itself, as the post's provenance keeps it."""
    share = curve.share(age_seconds)
    return {
        "half_life": curve.half_life,
        "shape": curve.shape,
        "curve_posts": curve.posts,
        "share": share,
        "noise": maturation.noise(metrics, share),
        "toxicity": harm,
    }


def _note(post: Post, **reward: Any) -> None:
    post.provenance = post.provenance | {"reward": reward}
    Post.objects.filter(pk=post.pk).update(provenance=post.provenance)
