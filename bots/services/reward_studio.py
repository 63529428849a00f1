"""A bot's formula tried on its past posts before it is kept, and past rewards made anew by the one that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, JSONObject

from accounts import audit, clock
from bots import live, maturation, replay, scoring
from bots.models import Bot, Post, Reward, ScoreObservation
from bots.replay import Replay, Scheme
from bots.services import bots
from bots.services.scores import ingredients

MOST_POSTS = 500
LOOKED_AT = 2000
"""Of so many posts that were published last, those that were read are replayed."""
EVER = datetime.min.replace(tzinfo=UTC)
READ = ("pk", "age_seconds", "metrics", "followers")


@dataclass(frozen=True)
class Rescored:
    """What making past rewards anew came to: `posts` with a new reward, `kept` without a value, which keep theirs."""

    posts: int
    kept: int


def replayed(bot: Bot, proposed: Scheme) -> Replay:
    """What the proposed scheme would make of the bot's newest posts, beside what the present one makes of them. Raises
    ValidationError for a formula or an age that could not be saved.
    """
    check(bot, proposed)
    posts = list(recent(bot).only("arm", "text", "provenance"))
    return replay.compare(posts, scheme_of(bot), proposed, bot.reading_ages, _curve(bot, posts))


def scheme_of(bot: Bot) -> Scheme:
    """How the bot's rewards are made now."""
    return Scheme(bot.score_formula, bot.reward_age)


def check(bot: Bot, proposed: Scheme) -> None:
    """Raises ValidationError, by field, for what could not be saved."""
    trial = Bot(
        connection=bot.connection,
        score_formula=proposed.formula,
        reward_age=proposed.reward_age,
        reading_ages=bot.reading_ages,
        blocklist=bot.blocklist,
    )
    bots.check_rules(trial)
    if proposed.reward_age < 1:
        raise ValidationError({"reward_age": "Give an age of at least one minute."})


def recent(bot: Bot) -> QuerySet[Post]:
    """The bot's newest published posts that were read, newest first, each with its last reading in
    `last_reading`; replies meet other readers, and are left out.
    """
    newest = Post.objects.filter(bot=bot, published_at__isnull=False).order_by("-published_at").values("published_at")
    since = Coalesce(Subquery(newest[LOOKED_AT - 1 : LOOKED_AT]), Value(EVER))
    readings = ScoreObservation.objects.filter(post=OuterRef("pk"))
    last = readings.order_by("-number").values(reading=JSONObject(**{name: name for name in READ}))
    posts: QuerySet[Post] = Post.objects.filter(Exists(readings), bot=bot, kind=Post.Kind.NEW, published_at__gte=since)
    return posts.annotate(last_reading=Subquery(last[:1])).order_by("-published_at", "-pk")[:MOST_POSTS]


def _curve(bot: Bot, posts: Sequence[Post]) -> scoring.Curve:
    """The curve that the newest reward was made with."""
    notes = (post.provenance.get("reward", {}) for post in posts)
    for note in notes:
        if "half_life" in note:
            return scoring.Curve(note["half_life"], note["shape"], note["curve_posts"])
    return maturation.curve_for(bot)


@transaction.atomic
def save(bot: Bot, scheme: Scheme) -> Bot:
    """Keep a scheme. It holds from the next reading on: rewards that were given stay as they are. Raises
    ValidationError.
    """
    return bots.change_bot(bot, score_formula=scheme.formula, reward_age=scheme.reward_age)


@transaction.atomic
def rescore(bot: Bot) -> Rescored:
    """Make the rewards of the posts that a replay looks at anew by the bot's present scheme. A post that it has no
    value for keeps its reward, if it has one.
    """
    posts = list(recent(bot).select_related("reward").select_for_update(of=("self",)))
    scheme, curve, now = scheme_of(bot), _curve(bot, posts), clock.now()
    formulas = sorted({post.reward.formula for post in posts if hasattr(post, "reward")})
    changed: list[Reward] = []
    new: list[Reward] = []
    valued: list[Post] = []
    for post in posts:
        value, _ = replay.value_of(post, scheme, bot.reading_ages, curve)
        reading = replay.reading_for(post, scheme, bot.reading_ages)
        if value is None or reading is None:
            continue
        reward = post.reward if hasattr(post, "reward") else Reward(post=post)
        (new if reward.pk is None else changed).append(reward)
        reward.observation_id, reward.value, reward.formula, reward.computed_at = reading.pk, value, scheme.formula, now
        note = ingredients(reading.age_seconds, reading.metrics, curve, replay.harm_of(post))
        post.provenance = post.provenance | {"reward": note}
        valued.append(post)
    Reward.objects.bulk_update(changed, ["observation", "value", "formula", "computed_at"])
    Reward.objects.bulk_create(new)
    Post.objects.bulk_update(valued, ["provenance"])
    told = Rescored(len(valued), len(posts) - len(valued))
    after = {"formula": scheme.formula, "posts": told.posts, "kept": told.kept}
    audit.record("bot.rescore", bot, before={"formulas": formulas}, after=after)
    live.tell(bot.pk, {"type": "post", "post": "", "state": "scored"})
    return told
