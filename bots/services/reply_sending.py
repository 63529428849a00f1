"""Sending approved replies: at once and not at a slot of the schedule, if what they answer is still there and the caps
allow it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts import clock, site
from accounts.tenancy import tenant
from bots import reply_choice
from bots.models import Incoming, Post, ReplyRules
from bots.services import posts, scheduling
from bots.services.replies import LIVING, LONGEST_WAIT, gone, may_read, rules_of, taken, why_held
from bots.states import IllegalTransition, PostState
from faces import governor
from faces.contract import FaceError
from faces.models import Connection
from faces.services import mark_broken

log = logging.getLogger(__name__)

SENT = Q(answer__state__in=[state for state in LIVING if state not in (PostState.PENDING_REVIEW, PostState.APPROVED)])
"""Answers that were sent, or are on their way."""
RETRY_SECONDS = 60.0


def send_approved() -> int:
    """Give every approved reply this moment as its slot, within the caps. Returns how many got one."""
    if site.paused():
        return 0
    # everyone: beat's sweep finds the replies of all organizations, then enters each one's tenant.
    approved = Post.everyone.filter(
        Q(not_before=None) | Q(not_before__lte=Now()),
        state=PostState.APPROVED,
        kind=Post.Kind.REPLY,
        continues=None,
        bot__paused_at=None,
        organization__paused_at=None,
        connection__state=Connection.State.CONNECTED,
    ).order_by("approved_at", "created_at")[:100]
    sent = 0
    for post in approved:
        with tenant(post.organization_id):
            try:
                sent += send_reply(post.pk)
            except (IllegalTransition, Post.DoesNotExist):  # somebody else was quicker
                continue
            except Exception:  # one reply that cannot be sent must not keep the others waiting
                log.exception("reply %s: could not be sent", post.pk)
    return sent


def send_reply(post_id: UUID | str) -> bool:
    """Send an approved reply now, if what it answers is still there and the caps allow it. One that a person wrote
    needs no more than its approval.
    """
    post: Post = Post.objects.select_related("bot__connection", "bot__organization").get(pk=post_id)
    if post.state != PostState.APPROVED or why_held(post.bot):
        return False
    incoming = Incoming.objects.filter(answer=post).first()
    if incoming is not None and not _still_wanted(post, incoming):
        return False
    with transaction.atomic():
        if incoming is not None:
            rules = ReplyRules.objects.select_for_update(of=("self",)).get(bot=post.bot_id)
            if cap := reply_choice.cap_reached(rules, taken(incoming, SENT)):
                _hold_back(post, incoming, rules, cap)
                return False
        scheduling.publish_now(str(post.pk))
    return True


def _still_wanted(post: Post, incoming: Incoming) -> bool:
    """Whether an approved reply still has its post; it is withdrawn where it has not, or waited too long."""
    connection = post.bot.connection
    longest = timedelta(minutes=rules_of(post.bot).oldest_minutes)
    if post.approved_at is not None and clock.now() - post.approved_at > longest:
        _withdraw(post, incoming, "The reply was approved, but could not be sent for too long.")
        return False
    try:
        may_read(connection, incoming.remote_id)
        found = connection.face.look_up(incoming.remote_id)
    except FaceError as error:
        governor.told_to_wait(connection, "read", error)
        if error.credentials:
            mark_broken(connection, str(error))
        _wait(post, error.retry_after or RETRY_SECONDS, str(error))
        return False
    if found is None or found.closed:
        _withdraw(post, incoming, gone(found))
        return False
    return True


def _hold_back(post: Post, incoming: Incoming, rules: ReplyRules, cap: str) -> None:
    """A thread's cap stays reached; those of an author and an hour pass."""
    if taken(incoming, SENT).thread >= rules.per_thread:
        _withdraw(post, incoming, cap)
    else:
        _wait(post, RETRY_SECONDS, cap)


def _wait(post: Post, seconds: float, reason: str) -> None:
    Post.objects.filter(pk=post.pk, state=PostState.APPROVED).update(
        not_before=Now() + timedelta(seconds=min(seconds, LONGEST_WAIT)), last_error=reason[:2000]
    )


@transaction.atomic
def _withdraw(post: Post, incoming: Incoming, reason: str) -> None:
    posts.cancel_post(post.pk)
    Post.objects.filter(pk=post.pk).update(last_error=reason[:2000])
    Incoming.objects.filter(pk=incoming.pk).update(state=Incoming.State.SKIPPED, reason=reason[:300])
