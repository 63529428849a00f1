"""One step of a post's way, as a compare-and-set: a conditional UPDATE on (id, fence, state), committed by itself.

Whoever lost the lease finds 0 rows and stops.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts import audit, clock, quotas
from accounts.tenancy import active
from bots import events, live
from bots.models import Post
from bots.states import PostState, check
from faces.contract import Published

log = logging.getLogger(__name__)

QUIESCENCE = timedelta(seconds=120)
"""How long an unknown outcome rests before the platform is asked: a request still under way must have ended by then."""
REPEATS = (0.2, 1.0, 3.0)
"""Seconds before a step is repeated whose COMMIT was not answered: a database that restarts is back after some."""


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
            if not move([post], old, new, **fields):
                return False
            if old in (PostState.SENDING, PostState.UNKNOWN) and new in (PostState.QUEUED, PostState.REJECTED):
                quotas.give_back("posts_per_day")  # it is certain that nothing went out
            if line:
                audit.record(line[0], post, before={"state": old}, after=line[1])
            events.moved(post, new)
            return True

    moved = persistently(step)
    if moved and not leased:
        live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": new})
    return moved


_PUBLISHED = """
    UPDATE bots_post SET
        state = 'published', remote_id = proof.remote_id, remote_url = proof.url, published_at = proof.at,
        next_reading_at = proof.next_reading_at, readings_due = 0, last_error = '', lease_until = NULL, owner = '',
        updated_at = %s
    FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
        AS proof (id, fence, remote_id, url, at, next_reading_at)
    WHERE organization_id = %s AND bots_post.id = proof.id AND bots_post.fence = proof.fence AND state = %s
"""


def settle_published(posts: Sequence[Post], old: PostState, proofs: Sequence[Published]) -> bool:
    """Book all these publications with their audit lines, or none. False: a lease was lost. Raises IntegrityError."""
    check(old, PostState.PUBLISHED)
    proved = list(zip(posts, proofs, strict=True))
    rows = [
        (post.pk, post.fence, proof.remote_id, proof.url, proof.at, proof.at + _until_first_reading(post))
        for post, proof in proved
    ]

    def step() -> bool:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_PUBLISHED, [clock.now(), *map(list, zip(*rows, strict=True)), active(), old])
                if cursor.rowcount < len(rows):
                    transaction.set_rollback(True)
                    return False
            before, told = {"state": old}, {"state": PostState.PUBLISHED}
            audit.record_all(
                "post.publish",
                [
                    (post, before, told | {"remote_id": proof.remote_id, "connection": str(post.connection_id)})
                    for post, proof in proved
                ],
            )
            events.published([(post, proof.url) for post, proof in proved])
            return True

    moved = persistently(step)
    for post in posts if moved else ():
        live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": PostState.PUBLISHED})
    return moved


def _until_first_reading(post: Post) -> timedelta:
    return timedelta(minutes=post.bot.reading_ages[0]) / post.connection.face.clock_speed()


def move(posts: Sequence[Post], old: PostState, new: PostState, **fields: Any) -> int:
    """Take a step with those of the posts whose row is in the `old` state and has their fence. Returns how many."""
    check(old, new)
    ours = reduce(or_, (Q(pk=post.pk, fence=post.fence) for post in posts))
    moved: int = Post.objects.filter(ours, state=old).update(state=new, updated_at=clock.now(), **fields)
    return moved


def persistently(step: Callable[[], bool]) -> bool:
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
