"""Publishing a queued post: claim, record the intent, send, book the outcome (docs/delivery.md).

Each step is one conditional UPDATE on (id, fence, state), committed by itself: whoever lost the lease finds 0 rows
and stops. Leases follow the database's clock.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from accounts import audit, clock, quotas, site
from accounts.quotas import QuotaExceeded
from bots import deadman, events, live, sanctioned, slots
from bots.faults import point
from bots.models import Post
from bots.services import threads
from bots.services.doorbells import ring_for
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
FRESH = 2.0
"""Seconds for which that holds what was read of a post and of the switches; then it is read again."""
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
        for number, post in enumerate(intended):
            ended[post.pk] = _send(post, contents[post.pk])
            # What keeps one from being published may be the next one's trouble; and a switch is to be felt soon.
            if ended[post.pk] != PostState.PUBLISHED or time.monotonic() - seen > FRESH:
                _send_later(intended[number + 1 :])
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

    def step() -> bool:
        with transaction.atomic():
            if _move(posts, PostState.LEASED, PostState.SENDING, **intent) < len(posts):
                transaction.set_rollback(True)
                return False
            _count(posts, contents)
            return True

    try:
        if _persistently(step):
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
    leased = new in (PostState.LEASED, PostState.SENDING)
    if not leased:
        fields |= {"lease_until": None, "owner": ""}
    if new == PostState.UNKNOWN:
        fields["not_before"] = Now() + QUIESCENCE

    def step() -> bool:
        with transaction.atomic():
            if not _move([post], old, new, **fields):
                return False
            if old in (PostState.SENDING, PostState.UNKNOWN) and new in (PostState.QUEUED, PostState.REJECTED):
                quotas.give_back("posts_per_day")  # it is certain that nothing went out
            if line:
                audit.record(line[0], post, before={"state": old}, after=line[1])
            events.moved(post, new, fields.get("remote_url", ""))
            return True

    moved = _persistently(step)
    if moved and not leased:
        live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": new})
    return moved


def _move(posts: Sequence[Post], old: PostState, new: PostState, **fields: Any) -> int:
    """Take a step with those of the posts whose row is in the `old` state and has their fence. Returns how many."""
    check(old, new)
    ours = reduce(or_, (Q(pk=post.pk, fence=post.fence) for post in posts))
    moved: int = Post.objects.filter(ours, state=old).update(state=new, updated_at=clock.now(), **fields)
    return moved


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
