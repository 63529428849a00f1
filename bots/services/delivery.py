"""Publishing a queued post: claim, record the intent, send, book the outcome (docs/delivery.md).

Each step is one conditional UPDATE on (id, fence, state), committed by itself: whoever lost the lease finds 0 rows
and stops. Leases follow the database's clock.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from accounts import audit, clock, quotas, site
from accounts.quotas import QuotaExceeded
from bots import deadman, events, live, sanctioned, slots
from bots.faults import point
from bots.models import Post
from bots.services import threads
from bots.services.posts import outgoing, payload_sha256
from bots.states import PostState, check
from faces import governor, http
from faces.contract import FaceError, OutgoingPost, Published
from faces.health import check_soon
from faces.models import Connection
from faces.services import mark_broken

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
QUIESCENCE = timedelta(seconds=120)
"""How long an unknown outcome rests before the platform is asked: a request still under way must have ended by then."""
LONGEST_BACKOFF = 3600.0
QUOTA_LOOK = timedelta(minutes=5)
"""After how long a post over the day's quota is looked at again: an operator may have given more."""
HELD = timedelta(seconds=5)
"""After how long a post that was held back is looked at again: what a switch may take to be felt."""
REPEATS = (0.2, 1.0, 3.0)
"""Seconds before a step is repeated whose COMMIT was not answered: a database that restarts is back after some."""


def check_times() -> None:
    """Raises ImproperlyConfigured unless a request ends before the deadman, he before the lease, and that before an
    unknown outcome is looked for.
    """
    times = (http.TOTAL_SECONDS, deadman.SECONDS, LEASE.total_seconds(), QUIESCENCE.total_seconds())
    if not all(earlier < later for earlier, later in pairwise(times)):
        raise ImproperlyConfigured(f"Request, deadman, lease and quiescence must follow each other: {times} s.")


def deliver_post(post_id: UUID | str) -> str | None:
    """Publish one queued post. Returns the state it ended in, or None when somebody else has it or it is not due."""
    point("before_claim")
    post = claim(post_id)
    if post is None:
        return None
    point("after_claim")
    try:
        content = outgoing(post)
    except Exception as error:  # the storage of images has errors of its own kinds; nothing was sent yet
        log.exception("post %s: its images could not be read", post.pk)
        return _put_back(post, f"An image could not be read: {error}", Now() + timedelta(seconds=60))
    if payload_sha256(content, post.continues_id) != post.approved_sha256:
        told = "The content is not what was approved."
        settle(post, PostState.LEASED, PostState.CANCELLED, last_error=told, slot_utc=None)
        log.error("post %s: content differs from what was approved; cancelled", post.pk)
        return PostState.CANCELLED
    claimed, post = post, _read(post.pk)  # as late as can be: reading images may have taken long
    if post.fence != claimed.fence:
        return None
    content = threads.addressed(post, content)
    if hold := _reason_to_hold(post) or _beyond_means(post, content):
        return _put_back(post, *hold)
    with deadman.armed():
        point("before_intent")
        # Committed before any byte leaves: from here on, silence means "unknown", never "unsent".
        try:
            intended = settle(
                post,
                PostState.LEASED,
                PostState.SENDING,
                sent_at=Coalesce("sent_at", Now()),
                attempts=F("attempts") + 1,
                lease_until=Now() + LEASE,
                absences=0,
                looked_for_at=None,
            )
        except QuotaExceeded as error:  # another post took the last of the day meanwhile
            return _put_back(post, *_over_quota(error))
        if not intended:
            return None
        point("after_intent")
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
    return Post.objects.get(pk=post_id) if taken else None


def _read(post_id: UUID | str) -> Post:
    """The post with all that decides whether it may be sent, as they are now."""
    found: Post = Post.objects.select_related("bot", "organization", "connection", "schedule", "continues").get(
        pk=post_id
    )
    return found


def _reason_to_hold(post: Post) -> tuple[str, Any] | None:
    """Why the post, which was just read, must not be sent now, and when to look again; None when it may."""
    soon = Now() + HELD
    if told := site.paused() or sanctioned.why_held(post):
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


def _beyond_means(post: Post, content: OutgoingPost) -> tuple[str, datetime] | None:
    """What quota, limit or budget keeps the post back, and until when; None when it may be sent, and is counted by its
    platform's limits.
    """
    try:
        quotas.check("posts_per_day", organization=post.organization)
    except QuotaExceeded as error:
        return _over_quota(error)
    wait = governor.admit(post.connection, "publish", microdollars=post.connection.face.price(content))
    return (wait.reason, wait.until) if wait else None


def _over_quota(error: QuotaExceeded) -> tuple[str, datetime]:
    assert error.frees_at is not None  # a daily quota
    return " ".join(error.messages), min(error.frees_at, clock.now() + QUOTA_LOOK)


def _put_back(post: Post, why: str, until: Any) -> str:
    """Let a claimed post be due again at `until`; nothing was sent."""
    settle(post, PostState.LEASED, PostState.QUEUED, not_before=until, last_error=why[:2000])
    return PostState.QUEUED


def _send(post: Post, content: OutgoingPost) -> str:
    point("before_send")
    try:
        published = post.connection.face.publish(content, post.platform_key)
    except FaceError as error:
        return _book_error(post, error)
    except Exception as error:  # a fault of ours between intent and answer: what left is not known
        log.exception("post %s: publishing failed in an unforeseen way", post.pk)
        return _book_error(post, FaceError(f"{type(error).__name__}: {error}", permanent=False, sent=True))
    point("after_send")
    return book_published(post, PostState.SENDING, published)


def book_published(post: Post, old: PostState, published: Published) -> str:
    """Book a publication that the platform has proved. Returns the state that the post is in then."""
    first = timedelta(minutes=post.bot.reading_ages[0]) / post.connection.face.clock_speed()
    point("before_book" if old == PostState.SENDING else "before_settle")
    try:
        settle(
            post,
            old,
            PostState.PUBLISHED,
            line=(
                "post.publish",
                {"state": PostState.PUBLISHED, "remote_id": published.remote_id, "connection": str(post.connection_id)},
            ),
            remote_id=published.remote_id,
            remote_url=published.url,
            published_at=published.at,
            next_reading_at=published.at + first,
            readings_due=0,
            last_error="",
        )
    except IntegrityError:  # UNIQUE(connection, remote_id): the platform's post is bound to another row
        new = PostState.NEEDS_HUMAN if old == PostState.UNKNOWN else PostState.UNKNOWN
        settle(post, old, new, last_error="Another post holds this id.")
        return new
    point("after_book")
    return PostState.PUBLISHED


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


def settle(
    post: Post, old: PostState, new: PostState, *, line: tuple[str, Mapping[str, Any]] | None = None, **fields: Any
) -> bool:
    """Compare-and-set on (id, fence, state), with the audit `line` (action, what it tells) in the same transaction.
    False: the lease was lost, and the row is not ours to write. An unknown outcome rests for QUIESCENCE.
    """
    check(old, new)
    leased = new in (PostState.LEASED, PostState.SENDING)
    if not leased:
        fields |= {"lease_until": None, "owner": ""}
    if new == PostState.UNKNOWN:
        fields["not_before"] = Now() + QUIESCENCE

    def step() -> bool:
        with transaction.atomic():
            moved = Post.objects.filter(pk=post.pk, fence=post.fence, state=old).update(
                state=new, updated_at=clock.now(), **fields
            )
            if moved:
                _count(post, old, new)
            if moved and line:
                audit.record(line[0], post, before={"state": old}, after=line[1])
            if moved:
                events.moved(post, new, fields.get("remote_url", ""))
            return bool(moved)

    moved = _persistently(step)
    if moved and not leased:
        live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": new})
    return moved


def _count(post: Post, old: PostState, new: PostState) -> None:
    """A post counts towards the day's quota from its intent on, unless it is certain that nothing went out. Raises
    QuotaExceeded.
    """
    if new == PostState.SENDING:
        quotas.consume("posts_per_day", organization=post.organization)
    elif old in (PostState.SENDING, PostState.UNKNOWN) and new in (PostState.QUEUED, PostState.REJECTED):
        quotas.give_back("posts_per_day")


def _persistently(step: Callable[[], bool]) -> bool:
    """Take a step that compares and sets; when the database vanished before it answered, repeat it on a new connection.
    Whether the first one was committed shows by itself: the second then finds the row moved, and "not mine" is the safe
    reading of that.
    """
    for pause in REPEATS:
        try:
            return step()
        except (OperationalError, InterfaceError) as error:
            if connection.in_atomic_block:
                raise
            log.warning("the database did not answer: %s", error)
            connection.close()
            time.sleep(pause)
    return step()


def take_down_post(post_id: UUID | str) -> Post:
    """Take a published post down from its platform. Raises FaceError when the platform refuses."""
    post: Post = Post.objects.select_related("connection").get(pk=post_id)
    before = {"state": post.state}
    post.move(PostState.DELETED)
    post.connection.face.delete(post.remote_id or "")
    post.next_reading_at = None
    post.save(update_fields=["state", "next_reading_at", "updated_at"])
    audit.record("post.take_down", post, before=before, after={"state": post.state, "remote_id": post.remote_id})
    events.moved(post, post.state)
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post
