"""The janitor and the reconciler: doorbells that nobody heard, leases that ran out, outcomes that nobody knows."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from accounts import clock
from accounts.doorbell import ring
from accounts.tenancy import tenant
from bots.faults import point
from bots.models import Post
from bots.services import threads
from bots.services.delivery import LEASE, book_published
from bots.services.doorbells import DELIVER, is_local, ring_for
from bots.services.posts import outgoing
from bots.services.steps import QUIESCENCE, settle
from bots.states import PostState
from faces.contract import FaceError, Published
from faces.models import Connection
from faces.services import mark_broken

log = logging.getLogger(__name__)

CLOCK_SLACK = timedelta(minutes=5)
"""How far a platform's clock may be behind ours."""
BETWEEN_LOOKS = timedelta(seconds=60)
BATCH = 500
SWEEP = 15.0
"""Seconds between two rounds, as beat has them."""


def recover_posts() -> int:
    """A round over all organizations. Returns how many posts were rung for or settled."""
    waited = Q(not_before=None) | Q(not_before__lte=Now())
    # everyone: the sweep finds rows of all organizations, then enters each one's tenant.
    stuck = Post.everyone.filter(
        Q(state=PostState.QUEUED) & waited
        | Q(state__in=[PostState.LEASED, PostState.SENDING], lease_until__lt=Now())
        | Q(state=PostState.UNKNOWN, sent_at__lt=Now() - QUIESCENCE) & waited
    ).order_by("updated_at")
    found = list(stuck.select_related("connection")[:BATCH])
    handled = _ring_again([post for post in found if post.state == PostState.QUEUED])
    # What needs no platform comes first: one that hangs must not keep the rest waiting.
    found = [post for post in found if post.state != PostState.QUEUED]
    for post in sorted(found, key=lambda post: post.state == PostState.UNKNOWN):
        with tenant(post.organization_id):
            try:
                handled += _recover(post)
            except Exception:  # one row that cannot be settled must not keep the others waiting
                log.exception("post %s: could not be recovered", post.pk)
    return handled


def _ring_again(posts: Sequence[Post]) -> int:
    """Ring for queued posts, those of one connection as far apart as its platform's limits want them. What would come
    after the next round is left to that. Returns for how many was rung.
    """
    local: dict[UUID, list[Post]] = {}
    delays: dict[UUID, float] = {}
    rung = 0
    for post in posts:
        after = delays.get(post.connection_id, 0.0)
        if after >= SWEEP:
            continue
        rung += 1
        if is_local(post):
            local.setdefault(post.organization_id, []).append(post)
            continue
        ring(DELIVER, post.organization_id, post.pk, after=after)
        try:
            delays[post.connection_id] = after + _apart(post.connection)
        except Exception:  # one whose face is not there must not keep the others waiting
            log.exception("post %s: its platform's limits are not known", post.pk)
    for together in local.values():
        ring_for(together)
    return rung


def _apart(connection: Connection) -> float:
    """Seconds between two posts that the limits of the connection's platform want."""
    short = (limit for limit in connection.capabilities.limits if limit.seconds <= SWEEP)
    return max((limit.covered / limit.calls for limit in short if limit.operation == "publish"), default=0.0)


def _recover(post: Post) -> bool:
    if post.state == PostState.LEASED:  # the intent was never recorded, so nothing was sent
        return settle(post, PostState.LEASED, PostState.QUEUED, last_error="The publisher vanished before sending.")
    if post.state == PostState.SENDING:
        return settle(post, PostState.SENDING, PostState.UNKNOWN, last_error="The publisher vanished while sending.")
    return reconcile(Post.objects.select_related("bot", "connection", "continues").get(pk=post.pk))


def reconcile(post: Post) -> bool:
    """Settle an unknown outcome by asking the platform before anything is sent again. Returns whether it is settled."""
    if post.absences and post.looked_for_at and clock.now() - post.looked_for_at < BETWEEN_LOOKS:
        return False
    if not _take_look(post):
        return False
    sent_at = post.sent_at or post.updated_at
    point("before_find")
    try:
        found = look_for(post)
    except FaceError as error:
        if error.credentials:
            mark_broken(post.connection, str(error))
        log.warning("post %s: the platform could not be asked: %s", post.pk, error)
        later = Now() + max(BETWEEN_LOOKS, timedelta(seconds=error.retry_after or 0.0))
        Post.objects.filter(pk=post.pk, state=PostState.UNKNOWN).update(not_before=later)
        return False
    point("after_find")
    if found is not None:
        return book_published([post], PostState.UNKNOWN, [found]) == [PostState.PUBLISHED]
    point("before_settle")
    if post.connection.capabilities.idempotency == "key" and _key_is_remembered(post, sent_at):
        told = "Not found on the platform: sent again with the same key."
        return settle(post, PostState.UNKNOWN, PostState.QUEUED, last_error=told, not_before=None)
    if post.absences:
        told = "Looked for twice and not found: decide by hand."
        return settle(post, PostState.UNKNOWN, PostState.NEEDS_HUMAN, last_error=told)
    mine = Post.objects.filter(pk=post.pk, fence=post.fence, state=PostState.UNKNOWN)
    mine.update(absences=1, looked_for_at=clock.now(), not_before=None)
    return False


def _take_look(post: Post) -> bool:
    """Have the outcome to oneself for the length of a lease: a platform that hangs would otherwise keep every sweep,
    and so every worker, busy with the same posts.
    """
    due = Q(not_before=None) | Q(not_before__lte=Now())
    taken = Post.objects.filter(due, pk=post.pk, fence=post.fence, state=PostState.UNKNOWN)
    return bool(taken.update(not_before=Now() + LEASE))


def look_for(post: Post) -> Published | None:
    """What an attempt left on the platform and no other row is bound to. Raises FaceError."""
    since = (post.sent_at or post.updated_at) - CLOCK_SLACK
    seen = post.connection.face.find(post.platform_key, threads.addressed(post, outgoing(post)), since)
    return next((published for published in seen if is_free(post, published.remote_id)), None)


def is_free(post: Post, remote_id: str) -> bool:
    """Whether the platform's post of that id is not the outcome of another row."""
    bound = Post.objects.filter(connection=post.connection_id, remote_id=remote_id)
    return not bound.exclude(pk=post.pk).exists()


def _key_is_remembered(post: Post, sent_at: datetime) -> bool:
    """Whether the platform still knows the key of the first attempt, with a tenth of its window to spare."""
    window = post.connection.capabilities.key_window
    return window == math.inf or clock.now() - sent_at < timedelta(seconds=0.9 * window)
