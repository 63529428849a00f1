"""Publishing a queued post: claim, record the intent, send, book the outcome (docs/delivery.md).

Each step is one of `bots.services.steps`. Leases follow the database's clock.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise, takewhile
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from accounts import audit, clock, quotas, site
from accounts.quotas import QuotaExceeded
from bots import deadman, events, live, sanctioned, slots
from bots.faults import point
from bots.models import Post
from bots.services import scores, steps, threads
from bots.services.doorbells import ring_for
from bots.services.posts import outgoing, payload_sha256
from bots.services.steps import settle
from bots.states import PostState, check
from faces import governor, http
from faces.contract import FaceError, OutgoingPost, Published
from faces.health import check_soon
from faces.models import Connection
from faces.services import mark_broken

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
LONGEST_BACKOFF = 3600.0
QUOTA_LOOK = timedelta(minutes=5)
"""After how long a post over the day's quota is looked at again: an operator may have given more."""
FRESH = 2.0
"""Seconds for which that holds what was read of a post and of the switches; then it is read again."""
HELD = timedelta(seconds=5)
"""After how long a post that was held back is looked at again: what a switch may take to be felt."""


def check_times() -> None:
    """Raises ImproperlyConfigured unless a request ends before the deadman, he before the lease, and that before an
    unknown outcome is looked for.
    """
    times = (http.TOTAL_SECONDS, deadman.SECONDS, LEASE.total_seconds(), steps.QUIESCENCE.total_seconds())
    if not all(earlier < later for earlier, later in pairwise(times)):
        raise ImproperlyConfigured(f"Request, deadman, lease and quiescence must follow each other: {times} s.")


def deliver_post(post_id: UUID | str) -> str | None:
    """Publish one queued post. Returns the state it ended in, or None when somebody else has it or it is not due."""
    return next(iter(deliver_posts([post_id]).values()), None)


def deliver_posts(post_ids: Sequence[UUID | str]) -> dict[UUID, str]:
    """Publish queued posts of the active organization. Returns the states they ended in; those that somebody else has,
    or that are not due, are left out.
    """
    point("before_claim")
    seen = time.monotonic()
    posts = claim(post_ids)
    if not posts:
        return {}
    point("after_claim")
    ended: dict[UUID, str] = {}
    contents = {post.pk: content for post in posts if (content := _content(post, ended)) is not None}
    posts = [post for post in posts if post.pk in contents]
    if time.monotonic() - seen > FRESH:  # reading images may have taken long
        seen, posts = time.monotonic(), _read_again(posts)
    holds = _reasons_to_hold(posts)
    for post in posts:
        contents[post.pk] = threads.addressed(post, contents[post.pk])
        if hold := holds.get(post.pk):
            ended[post.pk] = _put_back(post, *hold)
    with deadman.armed():
        point("before_intent")
        intended = _intend([post for post in posts if post.pk not in holds], contents, ended)
        if not intended:
            return ended
        point("after_intent")
        while intended:
            states = _send(intended, contents)
            ended |= zip((post.pk for post in intended), states, strict=False)
            intended = intended[len(states) :]
            # What keeps one from being published may be the next one's trouble; and a switch is to be felt soon.
            if set(states) != {PostState.PUBLISHED} or time.monotonic() - seen > FRESH:
                _send_later(intended)
                break
    return ended


def claim(post_ids: Sequence[UUID | str]) -> list[Post]:
    """Take those of the posts that are queued and due, each with a new fence and a lease, as they are now."""
    check(PostState.QUEUED, PostState.LEASED)
    due = Q(not_before=None) | Q(not_before__lte=Now())
    with transaction.atomic():
        waiting = Post.objects.select_for_update(of=("self",), skip_locked=True)
        posts = _read(waiting.filter(due, pk__in=post_ids, state=PostState.QUEUED))
        Post.objects.filter(pk__in=[post.pk for post in posts]).update(
            state=PostState.LEASED,
            fence=F("fence") + 1,
            owner=f"{socket.gethostname()}:{os.getpid()}",
            lease_until=Now() + LEASE,
        )
    for post in posts:
        post.state, post.fence = PostState.LEASED, post.fence + 1
    order = {str(post_id): place for place, post_id in enumerate(post_ids)}
    return sorted(posts, key=lambda post: order[str(post.pk)])


def _read(rows: QuerySet[Post]) -> list[Post]:
    """The posts with all that decides whether they may be sent, and what is sent. Those of one connection share it, and
    so what its face has read.
    """
    parts = ("bot", "organization", "connection", "schedule", "continues")
    posts = list(rows.select_related(*parts).prefetch_related("images"))
    connections: dict[UUID, Connection] = {}
    for post in posts:
        post.connection = connections.setdefault(post.connection_id, post.connection)
    return posts


def _read_again(posts: Sequence[Post]) -> list[Post]:
    """Claimed posts as they are now, but for those that somebody else has by now."""
    fences = {post.pk: post.fence for post in posts}
    return [post for post in _read(Post.objects.filter(pk__in=fences)) if post.fence == fences[post.pk]]


def _content(post: Post, ended: dict[UUID, str]) -> OutgoingPost | None:
    """What is to be sent; None when it cannot be, or must not, and the post has `ended` otherwise."""
    try:
        content = outgoing(post)
    except Exception as error:  # the storage of images has errors of its own kinds; nothing was sent yet
        log.exception("post %s: its images could not be read", post.pk)
        ended[post.pk] = _put_back(post, f"An image could not be read: {error}", Now() + timedelta(seconds=60))
        return None
    if payload_sha256(content, post.continues_id) != post.approved_sha256:
        told = "The content is not what was approved."
        settle(post, PostState.LEASED, PostState.CANCELLED, last_error=told, slot_utc=None)
        log.error("post %s: content differs from what was approved; cancelled", post.pk)
        ended[post.pk] = PostState.CANCELLED
        return None
    return content


def _reasons_to_hold(posts: Sequence[Post]) -> dict[UUID, tuple[str, Any]]:
    """Why some of the posts, which were just read, must not be sent now, and when to look again."""
    paused, held = site.paused(), sanctioned.why_held(posts)
    found = {post.pk: _reason_to_hold(post, paused or held.get(post.pk, "")) for post in posts}
    return {pk: reason for pk, reason in found.items() if reason}


def _reason_to_hold(post: Post, told: str) -> tuple[str, Any] | None:
    soon = Now() + HELD
    if told:
        return told, soon
    if post.bot.paused_at:
        return "The bot is paused.", soon
    if post.organization.paused_at:
        return "The organization is paused.", soon
    if post.connection.state == Connection.State.BROKEN:
        return f"{post.connection} must be connected again: {post.connection.problem}", soon
    if told := threads.waiting_for(post):
        return told, soon
    if post.schedule and (until := slots.quiet_until(post.schedule, clock.now())):
        return "These are the schedule's quiet hours.", until
    return None


class _MustWait(Exception):
    """A quota, limit or budget keeps a post back: why, and until when."""


def _intend(posts: Sequence[Post], contents: Mapping[UUID, OutgoingPost], ended: dict[UUID, str]) -> list[Post]:
    """Commit the intent to send, before any byte leaves: from here on, silence means "unknown", never "unsent". What
    the posts use of limits, budgets and quota is counted with it, or not at all. Several are intended together, or else
    each by itself. Returns those that may be sent now; those that must wait have `ended`.
    """
    if not posts:
        return []

    intent = {
        "sent_at": Coalesce("sent_at", Now()),
        "attempts": F("attempts") + 1,
        "lease_until": Now() + LEASE,
        "absences": 0,
        "looked_for_at": None,
    }

    def _together() -> bool:
        with transaction.atomic():
            if steps.move(posts, PostState.LEASED, PostState.SENDING, **intent) < len(posts):
                transaction.set_rollback(True)
                return False
            _count(posts, contents)
            return True

    try:
        if steps.persistently(_together):
            return list(posts)
    except _MustWait as wait:
        if len(posts) == 1:
            ended[posts[0].pk] = _put_back(posts[0], *wait.args)
    if len(posts) == 1:
        return []
    return [post for each in posts for post in _intend([each], contents, ended)]


def _count(posts: Sequence[Post], contents: Mapping[UUID, OutgoingPost]) -> None:
    """Count what the posts use of limits, budgets and the quota. Raises _MustWait."""
    for connection_id in sorted({post.connection_id for post in posts}):  # sorted: two would wait for each other
        of_it = [post for post in posts if post.connection_id == connection_id]
        account = of_it[0].connection
        price = sum(account.face.price(contents[post.pk]) for post in of_it)
        if wait := governor.admit(account, "publish", calls=len(of_it), microdollars=price):
            raise _MustWait(wait.reason, wait.until)
    try:
        quotas.consume("posts_per_day", len(posts), organization=posts[0].organization)
    except QuotaExceeded as error:
        raise _MustWait(" ".join(error.messages), min(quotas.tomorrow(), clock.now() + QUOTA_LOOK)) from None


def _put_back(post: Post, why: str, until: Any) -> str:
    """Let a claimed post be due again at `until`; nothing was sent."""
    settle(post, PostState.LEASED, PostState.QUEUED, not_before=until, last_error=why[:2000])
    return PostState.QUEUED


def _send_later(posts: Sequence[Post]) -> None:
    """Give back posts that were to be sent, of which nothing was."""
    for post in posts:
        first = {} if post.sent_at else {"sent_at": None}  # a key's window begins with what may have been sent
        settle(post, PostState.SENDING, PostState.QUEUED, **first)
    ring_for(posts)


def _send(posts: Sequence[Post], contents: Mapping[UUID, OutgoingPost]) -> list[str]:
    """Send the first of the posts, and those after it that its platform takes in the same step. Returns the states they
    ended in.
    """
    account = posts[0].connection
    asked = list(takewhile(lambda post: post.connection_id == account.pk, posts))
    point("before_send")
    try:
        proofs = account.face.publish_some([(contents[post.pk], post.platform_key) for post in asked])
    except FaceError as error:
        return [_book_error(asked[0], error)]
    except Exception as error:  # a fault of ours between intent and answer: what left is not known
        log.exception("post %s: publishing failed in an unforeseen way", asked[0].pk)
        told = FaceError(f"{type(error).__name__}: {error}", permanent=False, sent=True)
        return [_book_error(post, told) for post in asked]
    point("after_send")
    return book_published(asked[: len(proofs)], PostState.SENDING, proofs)


def book_published(posts: Sequence[Post], old: PostState, proofs: Sequence[Published]) -> list[str]:
    """Book publications that the platform has proved: together, or else each by itself. Returns the states that the
    posts are in then.
    """
    point("before_book" if old == PostState.SENDING else "before_settle")
    try:
        together = steps.settle_published(posts, old, proofs)
    except IntegrityError:  # UNIQUE(connection, remote_id): the platform's post is bound to another row
        together = False
        if len(posts) == 1:
            new = PostState.NEEDS_HUMAN if old == PostState.UNKNOWN else PostState.UNKNOWN
            settle(posts[0], old, new, last_error="Another post holds this id.")
            return [new]
    if not together and len(posts) > 1:
        return [new for each in zip(posts, proofs, strict=True) for new in book_published(each[:1], old, each[1:])]
    point("after_book")
    return [PostState.PUBLISHED] * len(posts)


def _book_error(post: Post, error: FaceError) -> str:
    message = str(error)[:2000]
    fields: dict[str, Any] = {}
    governor.told_to_wait(post.connection, "publish", error)
    if error.credentials:
        mark_broken(post.connection, message)
    if error.sent:
        new = PostState.UNKNOWN
    elif error.credentials:  # the post is as good as before: it waits for its owner to connect again
        new, fields = PostState.QUEUED, {"not_before": Now() + HELD}
    elif error.permanent:
        new = PostState.REJECTED
        check_soon(post.connection)  # what was refused may be the account, and not this post
    else:
        wait = min(error.retry_after or 2.0 ** min(post.attempts + 1, 12), LONGEST_BACKOFF)
        new, fields = PostState.QUEUED, {"not_before": Now() + timedelta(seconds=wait)}
    if new == PostState.QUEUED and post.sent_at is None:
        fields["sent_at"] = None  # no attempt may have been sent yet: a key's window begins with the next one
    point("before_book")
    line = ("post.publish_failed", {"state": new, "error": message})
    settle(post, PostState.SENDING, new, line=line, last_error=message, **fields)
    point("after_book")
    return new


def take_down_post(post_id: UUID | str) -> Post:
    """Take a published post down from its platform. Raises FaceError when the platform refuses."""
    post: Post = Post.objects.select_related("connection").get(pk=post_id)
    before = {"state": post.state}
    post.move(PostState.DELETED)
    post.connection.face.delete(post.remote_id or "")
    post.next_reading_at = None
    post.save(update_fields=["state", "next_reading_at", "updated_at"])
    scores.note_taken_down(post)
    audit.record("post.take_down", post, before=before, after={"state": post.state, "remote_id": post.remote_id})
    events.moved(post, post.state)
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post
