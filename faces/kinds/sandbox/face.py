"""The sandbox face: a platform with a simulated audience, kept in this installation's own tables.

Every reaction here is simulated, and labelled so by `capabilities.simulated`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet

from accounts import clock
from faces.contract import (
    Capabilities,
    Face,
    FaceError,
    OutgoingImage,
    OutgoingPost,
    Parent,
    Published,
    Reading,
    RemotePost,
    Verification,
)
from faces.kinds.sandbox import comments
from faces.kinds.sandbox.audience import Audience
from faces.kinds.sandbox.comments import Remark
from faces.kinds.sandbox.forms import SandboxForm
from faces.kinds.sandbox.models import SandboxPost, SandboxWorld
from faces.kinds.sandbox.reactions import METRICS, Moment, reactions
from faces.kinds.sandbox.stage import Stage, age_minutes, described, followers

if TYPE_CHECKING:
    from faces.models import Connection

MEDIA_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
MOST_IMAGES = 4
REMARKS_UNTIL = 7 * 24 * 60
"""Platform minutes after which nobody looks for new comments below a post."""


def true_reward(connection: Connection, texts: Sequence[str]) -> list[float]:
    """The audience's expected reaction to each text, log units, as if each were the account's first post.

    Only a rehearsal's report may ask: whoever learns sees counts. `Audience.standardise` turns these into standard
    units. All sandbox worlds share one audience, so the connection only says whose audience is meant.
    """
    if connection.kind != "sandbox":
        raise ValueError(f"Only a simulated audience has a true reward; this connection's face is “{connection.kind}”.")
    return [float(value) for value in Audience.load().expected(texts)]


class SandboxFace(Face):
    """See `faces.contract.Face`. Times are real (or a rehearsal's); a post ages `clock_speed` times faster than the
    clock runs.
    """

    capabilities = Capabilities(
        max_length=280,
        counts_by="characters",
        metrics=METRICS,
        can_reply=True,
        max_images=4,
        reads=frozenset({"history", "mentions", "comments"}),
        idempotency="key",
        local=True,
        simulated=True,
        may_learn=True,
    )

    def verify(self) -> Verification:
        form = SandboxForm(self._settings())
        missing = tuple(
            f"{form.fields[name].label}: {error}" for name, errors in form.errors.items() for error in errors
        )
        return Verification(account=self.connection.name, missing=missing)

    def publish(self, post: OutgoingPost, key: str) -> Published:
        return self.publish_some([(post, key)])[0]

    @transaction.atomic
    def publish_some(self, posts: Sequence[tuple[OutgoingPost, str]]) -> list[Published]:
        """All up to the first one that is refused. See `Face.publish_some`."""
        world = self._world()
        stage = Stage(self.connection, world)
        known = {post.key: post for post in self._posts().filter(key__in=[key for _, key in posts])}
        taken: list[SandboxPost] = []
        for post, key in posts:
            try:
                self._refuse(post)
                taken.append(_unchanged(known[key], post) if key in known else stage.appear(post, key))
            except FaceError:
                if not taken:
                    raise
                break
        stage.save()
        return [self._published(post) for post in taken]

    def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
        return [self._published(existing) for existing in self._posts().filter(key=key)]

    def delete(self, remote_id: str) -> None:
        if _is_number(remote_id):
            self._posts().filter(number=remote_id, deleted_at=None).update(deleted_at=clock.now())

    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        numbers = [remote_id for remote_id in remote_ids if _is_number(remote_id)]
        found = {post.remote_id: post for post in self._posts().filter(number__in=numbers, deleted_at=None)}
        readings: dict[str, Reading | None] = dict.fromkeys(remote_ids)
        if found:
            world, now = self._world(), clock.now()
            for remote_id, post in found.items():
                readings[remote_id] = Reading(
                    metrics=self._counts(world, post, now), followers=round(post.followers), at=now
                )
        return readings

    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        posts = self._posts().filter(deleted_at=None)
        if since is not None:
            posts = posts.filter(published_at__gte=since)
        world, now = self._world(), clock.now()
        for post in posts.order_by("published_at", "number"):
            yield self._own(world, post, now)

    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        """What the simulated audience wrote below posts of the last days, and mentions."""
        if community:
            return []
        world, now = self._world(), clock.now()
        newest = (since or now) - timedelta(minutes=REMARKS_UNTIL / world.clock_speed)
        found = []
        for post in self._posts().filter(deleted_at=None, published_at__gte=newest):
            found += [
                self._remote(world, post, remark)
                for remark in self._remarks(world, post)
                if remark.is_there(age_minutes(world, post.published_at, now))
            ]
        return sorted((post for post in found if since is None or post.at >= since), key=lambda post: post.at)

    def look_up(self, remote_id: str) -> RemotePost | None:
        """What the audience wrote is gone with the post that it stands below."""
        world = self._world()
        if _is_number(remote_id):
            post = self._posts().filter(number=remote_id, deleted_at=None).first()
            return self._own(world, post, clock.now()) if post else None
        found = self._written(world, remote_id)
        return self._remote(world, *found) if found else None

    def clock_speed(self) -> float:
        return self._world().clock_speed

    def followers(self) -> float:
        """The account's followers now: those at the start and those its posts have won since."""
        shown = self._posts().values_list("expected", "followers", "published_at")
        return followers(self._world(), list(shown), clock.now())

    def _refuse(self, post: OutgoingPost) -> None:
        """Raise FaceError for what this platform does not take; nothing was published."""
        if not post.text.strip() and not post.images:
            raise FaceError("The post is empty. Write something, or add an image.", permanent=True)
        length, limit = self.count(post.text), self.capabilities.max_length
        if length > limit:
            raise FaceError(f"The post has {length} characters; at most {limit} fit. Shorten it.", permanent=True)
        if not _is_storable(post.text):
            raise FaceError(
                "The post holds characters that are no text (NUL or half of a pair). Remove them.", permanent=True
            )
        if post.reply_to and not self._exists(post.reply_to):
            raise FaceError("The post to reply to is gone. Publish this as a new post, or not at all.", permanent=True)
        _refuse_images(post.images)

    def _own(self, world: SandboxWorld, post: SandboxPost, now: datetime) -> RemotePost:
        return RemotePost(
            remote_id=post.remote_id,
            text=post.text,
            at=post.published_at,
            author=self.connection.name,
            metrics=self._counts(world, post, now),
            reply_to=post.reply_to,
        )

    def _exists(self, remote_id: str) -> bool:
        if _is_number(remote_id):
            return self._posts().filter(number=remote_id, deleted_at=None).exists()
        return self._written(self._world(), remote_id) is not None

    def _written(self, world: SandboxWorld, remote_id: str) -> tuple[SandboxPost, Remark] | None:
        """A comment or mention that is there now, with the post it belongs to."""
        parts = comments.parsed(remote_id)
        post = self._posts().filter(number=parts[0], deleted_at=None).first() if parts else None
        if post is None:
            return None
        age = age_minutes(world, post.published_at, clock.now())
        there = (each for each in self._remarks(world, post) if each.remote_id == remote_id and each.is_there(age))
        return next(((post, remark) for remark in there), None)

    def _remarks(self, world: SandboxWorld, post: SandboxPost) -> Iterator[Remark]:
        """All that the audience will ever write about a post."""
        parts = comments.parsed(post.reply_to)
        above = self._posts().filter(number=parts[0]).first() if parts else None
        written = self._remarks(world, above) if above else iter(())
        answers = next((remark.author for remark in written if remark.remote_id == post.reply_to), "")
        return comments.remarks(world.seed, post.number, _moment(post), post.text, self.connection.name, answers)

    def _remote(self, world: SandboxWorld, post: SandboxPost, remark: Remark) -> RemotePost:
        below = [] if remark.is_mention else self._thread(world, post)
        return RemotePost(
            remote_id=remark.remote_id,
            text=remark.text,
            at=post.published_at + timedelta(minutes=remark.age / world.clock_speed),
            author=remark.author,
            metrics={"likes": 0},
            reply_to="" if remark.is_mention else post.remote_id,
            root_id=below[0][0] if below else remark.remote_id,
            depth=len(below),
            parents=tuple(Parent(author, text) for _, author, text in below),
            author_is_bot=remark.by_bot,
            summoned=True,
        )

    def _thread(self, world: SandboxWorld, post: SandboxPost) -> list[tuple[str, str, str]]:
        """(id, author, text) of a post of the account's and of what stands above it, oldest first."""
        own = (post.remote_id, self.connection.name, post.text)
        above = self._posts().filter(number=post.reply_to).first() if _is_number(post.reply_to) else None
        if above is not None:
            return [*self._thread(world, above), own]
        if (parts := comments.parsed(post.reply_to)) is None:
            return [own]
        base = self._posts().get(number=parts[0])
        remark = next(each for each in self._remarks(world, base) if each.remote_id == post.reply_to)
        below = [] if remark.is_mention else self._thread(world, base)
        return [*below, (remark.remote_id, remark.author, remark.text), own]

    def _posts(self) -> QuerySet[SandboxPost]:
        return SandboxPost.objects.filter(connection=self.connection)

    def _settings(self) -> dict[str, object]:
        initial = {name: field.initial for name, field in SandboxForm.base_fields.items()}
        return {**initial, **self.connection.settings}

    def _world(self) -> SandboxWorld:
        """The connection's world, made of its settings on first use; the connection remembers it, as it never
        changes.
        """
        with suppress(SandboxWorld.DoesNotExist):
            world: SandboxWorld = self.connection.sandbox_world
            return world
        form = SandboxForm(self._settings())
        if not form.is_valid():
            raise FaceError(
                "The sandbox's settings are not valid. Open the connection and correct them.", permanent=True
            )
        return SandboxWorld.objects.get_or_create(connection=self.connection, defaults=form.cleaned_data)[0]

    def _counts(self, world: SandboxWorld, post: SandboxPost, now: datetime) -> dict[str, int]:
        return reactions(world.seed, post.remote_id, _moment(post), age_minutes(world, post.published_at, now))

    def _published(self, post: SandboxPost) -> Published:
        return Published(remote_id=post.remote_id, url="", at=post.published_at)


def _moment(post: SandboxPost) -> Moment:
    return Moment(
        expected=post.expected, followers=post.followers, published_at=post.published_at, asks="?" in post.text
    )


def _unchanged(existing: SandboxPost, post: OutgoingPost) -> SandboxPost:
    """The post that has this one's key. Raises FaceError when it says something else."""
    if (existing.text, existing.images, existing.reply_to) != (post.text, described(post.images), post.reply_to):
        raise FaceError(
            "This key was used for another post already. Publish the changed post under a new key.", permanent=True
        )
    return existing


def _is_number(remote_id: str) -> bool:
    return remote_id.isascii() and remote_id.isdecimal() and len(remote_id) < 10


def _is_storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _refuse_images(images: Sequence[OutgoingImage]) -> None:
    if len(images) > MOST_IMAGES:
        raise FaceError(f"The post has {len(images)} images; at most {MOST_IMAGES} fit. Remove some.", permanent=True)
    for image in images:
        if not image.content or image.media_type not in MEDIA_TYPES:
            raise FaceError(
                f"An image is empty or of a type that is not taken ({image.media_type}). Use PNG, JPEG, GIF or WebP.",
                permanent=True,
            )
        if not _is_storable(image.alt_text):
            raise FaceError("An image's description holds characters that are no text. Correct it.", permanent=True)
