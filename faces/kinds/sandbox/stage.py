"""How posts appear on the simulated platform: each before an audience that knows those before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import connection as database

from accounts import clock
from faces.contract import OutgoingImage, OutgoingPost
from faces.kinds.sandbox.audience import Audience, dislike
from faces.kinds.sandbox.models import SandboxPost, SandboxWorld, store_image
from faces.kinds.sandbox.reactions import followers_gained

if TYPE_CHECKING:
    from faces.models import Connection

REMEMBERED_POSTS = 1000


class Stage:
    """A world's platform in one transaction, which has the world to itself: so numbers follow each other, a key is used
    once, and an audience that sees two copies at once still notices.
    """

    def __init__(self, connection: Connection, world: SandboxWorld) -> None:
        with database.cursor() as cursor:
            cursor.execute("SELECT FROM faces_sandboxworld WHERE id = %s FOR UPDATE", [world.pk])
        self._connection, self._now = connection, clock.now()
        columns = ("number", "text", "deleted_at", "expected", "followers", "published_at")
        posts = SandboxPost.objects.filter(connection=connection)
        before = list(posts.order_by("-number").values_list(*columns))
        self._number = before[0][0] if before else 0
        self._followers = followers(world, [row[3:] for row in before], self._now)
        self._remembered = [text for _, text, deleted_at, *_ in before[:REMEMBERED_POSTS] if deleted_at is None]
        self._appeared: list[SandboxPost] = []

    def appear(self, post: OutgoingPost, key: str) -> SandboxPost:
        """Show a post to the audience."""
        self._number += 1
        read = post.text.strip() or " ".join(image.alt_text for image in post.images)
        shown = SandboxPost(
            connection=self._connection,
            number=self._number,
            key=key,
            text=post.text,
            images=described(post.images),
            reply_to=post.reply_to,
            published_at=self._now,
            expected=float(Audience.load().expected([read])[0]) - dislike(read, self._remembered),
            followers=self._followers,
        )
        for image, about in zip(post.images, shown.images, strict=True):
            store_image(self._connection.pk, about["sha256"], image)
        self._remembered.append(post.text)
        self._appeared.append(shown)
        return shown

    def save(self) -> None:
        """Keep what has appeared."""
        SandboxPost.objects.bulk_create(self._appeared)


def described(images: Sequence[OutgoingImage]) -> list[dict[str, str]]:
    """What the platform's row tells of a post's images."""
    return [
        {
            "sha256": hashlib.sha256(image.content).hexdigest(),
            "media_type": image.media_type,
            "alt_text": image.alt_text,
        }
        for image in images
    ]


def followers(world: SandboxWorld, posts: Sequence[Sequence[Any]], now: datetime) -> float:
    """The account's followers once it has shown these posts, each as (expected, followers, published_at)."""
    ages = [age_minutes(world, published_at, now) for *_, published_at in posts]
    return world.followers + followers_gained([post[0] for post in posts], [post[1] for post in posts], ages)


def age_minutes(world: SandboxWorld, published_at: datetime, now: datetime) -> float:
    """How old a post is, in minutes of the platform."""
    return (now - published_at).total_seconds() / 60 * world.clock_speed
