"""Publishing a queued post: claim, record the intent, send, book the outcome (docs/delivery.md).

Each step is one conditional UPDATE on (id, fence, state), committed by itself: whoever lost the lease finds 0 rows
and stops. Leases follow the database's clock.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts import audit, clock
from accounts.doorbell import ring
from accounts.tenancy import tenant
from bots import live
from bots.models import Post
from bots.services.posts import outgoing, payload_sha256
from bots.states import PostState, check
from faces.contract import FaceError, Published
from faces.models import Connection
from faces.services import mark_broken

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
QUIESCENCE = timedelta(seconds=120)
"""How long an unknown outcome rests before the platform is asked: a request still under way must have ended by then."""
CLOCK_SLACK = timedelta(minutes=5)
"""How far a platform's clock may be behind ours."""
LONGEST_BACKOFF = 3600.0


def deliver_post(post_id: UUID | str) -> str | None:
    """Publish one queued post. Returns the state it ended in, or None when somebody else has it or it is not due."""
    post = claim(post_id)
    if post is None:
        return None
    held = _reason_to_hold(post)
    if held:
        _settle(post, PostState.LEASED, PostState.QUEUED, not_before=Now() + timedelta(seconds=5), last_error=held)
        return PostState.QUEUED
    try:
        content = outgoing(post)
    except Exception as error:  # the storage of images has errors of its own kinds; nothing was sent yet
        log.exception("post %s: its images could not be read", post.pk)
        wait, told = Now() + timedelta(seconds=60), f"An image could not be read: {error}"[:2000]
        _settle(post, PostState.LEASED, PostState.QUEUED, not_before=wait, last_error=told)
        return PostState.QUEUED
    if payload_sha256(content) != post.approved_sha256:
        _settle(
            post,
            PostState.LEASED,
            PostState.CANCELLED,
            last_error="The content is not what was approved.",
            slot_utc=None,
        )
        log.error("post %s: content differs from what was approved; cancelled", post.pk)
        return PostState.CANCELLED
    # The intent is committed before any byte leaves: from here on, silence means "unknown", never "unsent".
    if not _settle(post, PostState.LEASED, PostState.SENDING, sent_at=Now(), attempts=F("attempts") + 1):
        return None
    return _send(post, content)


def claim(post_id: UUID | str) -> Post | None:
    """Take a queued post that is due, with a new fence and a lease. None when there is nothing to take."""
    check(PostState.QUEUED, PostState.LEASED)
    taken = Post.objects.filter(
        Q(not_before=None) | Q(not_before__lte=Now()), pk=post_id, state=PostState.QUEUED
    ).update(
        state=PostState.LEASED,
        fence=F("fence") + 1,
        owner=f"{socket.gethostname()}:{os.getpid()}",
        lease_until=Now() + LEASE,
    )
    return Post.objects.select_related("bot", "connection", "organization").get(pk=post_id) if taken else None


def _reason_to_hold(post: Post) -> str:
    if post.bot.paused_at:
        return "The bot is paused."
    if post.organization.paused_at:
        return "The organization is paused."
    if post.connection.state == Connection.State.BROKEN:
        return f"{post.connection} must be connected again: {post.connection.problem}"[:2000]
    return ""


def _send(post: Post, content: Any) -> str:
    try:
        published = post.connection.face.publish(content, post.platform_key)
    except FaceError as error:
        return _book_error(post, error)
    except Exception as error:  # a fault of ours between intent and answer: what left is not known
        log.exception("post %s: publishing failed in an unforeseen way", post.pk)
        return _book_error(post, FaceError(f"{type(error).__name__}: {error}", permanent=False, sent=True))
    return _book_published(post, PostState.SENDING, published)


def _book_published(post: Post, old: PostState, published: Published) -> str:
    first = timedelta(minutes=post.bot.reading_ages[0]) / post.connection.face.clock_speed()
    try:
        booked = _settle(
            post,
            old,
            PostState.PUBLISHED,
            remote_id=published.remote_id,
            remote_url=published.url,
            published_at=published.at,
            next_reading_at=published.at + first,
            readings_due=0,
            last_error="",
        )
    except IntegrityError:  # UNIQUE(connection, remote_id): the platform's post is bound to another row
        _settle(
            post,
            old,
            PostState.NEEDS_HUMAN if old == PostState.UNKNOWN else PostState.UNKNOWN,
            last_error="Another post holds this id.",
        )
        return PostState.UNKNOWN
    if booked:
        audit.record(
            "post.publish", post, after={"remote_id": published.remote_id, "connection": str(post.connection_id)}
        )
    return PostState.PUBLISHED


def _book_error(post: Post, error: FaceError) -> str:
    message = str(error)[:2000]
    fields: dict[str, Any] = {}
    if error.credentials:
        mark_broken(post.connection, message)
    if error.sent:
        new = PostState.UNKNOWN
    elif error.credentials:  # the post is as good as before: it waits for its owner to connect again
        new, fields = PostState.QUEUED, {"not_before": Now() + timedelta(seconds=5)}
    elif error.permanent:
        new = PostState.REJECTED
    else:
        wait = min(error.retry_after or 2.0 ** min(post.attempts + 1, 12), LONGEST_BACKOFF)
        new, fields = PostState.QUEUED, {"not_before": Now() + timedelta(seconds=wait)}
    if _settle(post, PostState.SENDING, new, last_error=message, **fields):
        audit.record("post.publish_failed", post, after={"state": new, "error": message})
    return new


def _settle(post: Post, old: PostState, new: PostState, **fields: Any) -> bool:
    """Compare-and-set on (id, fence, state). False: the lease was lost, and the row is not ours to write."""
    check(old, new)
    leased = new in (PostState.LEASED, PostState.SENDING)
    if not leased:
        fields |= {"lease_until": None, "owner": ""}
    moved = Post.objects.filter(pk=post.pk, fence=post.fence, state=old).update(
        state=new, updated_at=clock.now(), **fields
    )
    if moved and not leased:
        live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": new})
    return bool(moved)


def recover_posts() -> int:
    """The janitor's round over all organizations: doorbells that nobody heard, leases that ran out, outcomes that
    nobody knows.
    """
    # everyone: the sweep finds rows of all organizations, then enters each one's tenant.
    stuck = Post.everyone.filter(
        Q(state=PostState.QUEUED) & (Q(not_before=None) | Q(not_before__lte=Now()))
        | Q(state__in=[PostState.LEASED, PostState.SENDING], lease_until__lt=Now())
        | Q(state=PostState.UNKNOWN, sent_at__lt=Now() - QUIESCENCE)
    ).order_by("updated_at")[:500]
    handled = 0
    for post in stuck:
        with tenant(post.organization_id):
            try:
                handled += _recover(post)
            except Exception:  # one row that cannot be settled must not keep the others waiting
                log.exception("post %s: could not be recovered", post.pk)
    return handled


def _recover(post: Post) -> bool:
    if post.state == PostState.QUEUED:
        ring("bots.tasks.deliver_post", post.organization_id, post.pk)
        return True
    if post.state == PostState.LEASED:  # the intent was never recorded, so nothing was sent
        return _settle(post, PostState.LEASED, PostState.QUEUED, last_error="The publisher vanished before sending.")
    if post.state == PostState.SENDING:
        return _settle(post, PostState.SENDING, PostState.UNKNOWN, last_error="The publisher vanished while sending.")
    return reconcile(Post.objects.select_related("bot", "connection").get(pk=post.pk))


def reconcile(post: Post) -> bool:
    """Settle an unknown outcome by asking the platform before anything is sent again. Returns whether it is settled."""
    face, sent_at = post.connection.face, post.sent_at or post.updated_at
    try:
        seen = face.find(post.platform_key, outgoing(post), sent_at - CLOCK_SLACK)
        found = next((published for published in seen if _is_free(post, published)), None)
    except FaceError as error:
        log.warning("post %s: the platform could not be asked: %s", post.pk, error)
        return False
    if found is not None:
        return _book_published(post, PostState.UNKNOWN, found) == PostState.PUBLISHED
    if face.capabilities.idempotency == "key" and _key_is_remembered(post, sent_at):
        return _settle(
            post,
            PostState.UNKNOWN,
            PostState.QUEUED,
            last_error="Not found on the platform: sent again with the same key.",
        )
    if post.absences and post.looked_for_at and clock.now() - post.looked_for_at >= timedelta(seconds=60):
        return _settle(
            post, PostState.UNKNOWN, PostState.NEEDS_HUMAN, last_error="Looked for twice and not found: decide by hand."
        )
    if not post.absences:
        Post.objects.filter(pk=post.pk, state=PostState.UNKNOWN).update(absences=1, looked_for_at=clock.now())
    return False


def _is_free(post: Post, published: Published) -> bool:
    """Whether what was found on the platform is not the outcome of another row."""
    bound = Post.objects.filter(connection=post.connection_id, remote_id=published.remote_id)
    return not bound.exclude(pk=post.pk).exists()


def _key_is_remembered(post: Post, sent_at: datetime) -> bool:
    """Whether the platform still knows the key of the first attempt, with a tenth of its window to spare."""
    window = post.connection.capabilities.key_window
    return window == math.inf or clock.now() - sent_at < timedelta(seconds=0.9 * window)


def take_down_post(post_id: UUID | str) -> Post:
    """Take a published post down from its platform. Raises FaceError when the platform refuses."""
    post: Post = Post.objects.select_related("connection").get(pk=post_id)
    post.move(PostState.DELETED)
    post.connection.face.delete(post.remote_id or "")
    post.next_reading_at = None
    post.save(update_fields=["state", "next_reading_at", "updated_at"])
    audit.record("post.take_down", post, after={"remote_id": post.remote_id})
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post
