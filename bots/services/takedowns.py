"""Takedowns by the operator: the evidence is kept first, then the post goes, and it cannot come back.

The row is the order. A published post is deleted on its platform at once where that answers, and otherwise by beat's
sweep, later and later, until the platform confirms it or the operator gives up. One that is not out yet is cancelled;
one on its way is held by the sending guard and dealt with as soon as it is known where it is. The same words proposed
again are blocked (bots/services/site_rules.py).
"""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F

from accounts import audit, clock
from accounts.notifications import tell
from accounts.tenancy import tenant
from bots.models import Post, Report, ScoreObservation, Takedown
from bots.services import delivery, reports, sanctions
from bots.services.posts import cancel_post
from bots.states import TRANSITIONS, PostState
from faces.contract import FaceError
from faces.models import Connection

log = logging.getLogger(__name__)

ATTEMPT = timedelta(minutes=2)
"""For how long whoever tries has the takedown to himself."""
LONGEST_WAIT = timedelta(hours=6)
BATCH = 100
OVER = frozenset({PostState.DELETED, PostState.CANCELLED, PostState.DECLINED, PostState.BLOCKED})


@transaction.atomic
def take_down(post_id: UUID | str, reason: str) -> Takedown:
    """Order that a post goes, with what it was as evidence; its people are told. `attempt` it once this is committed.
    Raises ValidationError for one that was taken down already.
    """
    reason = reason.replace("\0", "").strip()
    if not reason:
        raise ValidationError({"reason": "Say why: its people read this."})
    post = Post.locked(post_id)
    if Takedown.objects.filter(post_id=post.pk).exists():
        raise ValidationError("This post was taken down already.")
    by, now = audit.actor().label[:200], clock.now()
    takedown: Takedown = Takedown.objects.create(
        post_id=post.pk, bot_id=post.bot_id, reason=reason[:500], evidence=evidence_of(post), by=by, next_attempt_at=now
    )
    for report_id in Report.objects.filter(post=post, state=Report.State.OPEN).values_list("pk", flat=True):
        reports.decide(report_id, True, reason)
    told = {"post": str(post.pk), "state": post.state, "reason": reason}
    audit.record("takedown.order", takedown, after=told)
    title = f"The operator took a post of {post.bot} down"
    tell("post.taken_down", title, sanctions.path(), reason, subject=f"post {post.pk}")
    return takedown


def evidence_of(post: Post) -> dict[str, Any]:
    """All that is known of a post, as JSON."""
    reading = ScoreObservation.objects.filter(post=post).order_by("-number").first()
    connection = post.connection
    return {
        "text": post.text,
        "text_sha256": hashlib.sha256(post.text.encode()).hexdigest(),
        "payload_sha256": post.payload_sha256,
        "images": list(post.images.values("sha256", "media_type", "alt_text")),
        "state": post.state,
        "platform": connection.kind,
        "account": connection.account,
        "connection": str(connection.pk),
        "bot": post.bot.name,
        "remote_id": post.remote_id,
        "remote_url": post.remote_url,
        "reply_to": post.reply_to,
        "created_at": post.created_at.isoformat(),
        "published_at": post.published_at.isoformat() if post.published_at else None,
        "approved_by": post.approved_by,
        "arm": post.arm,
        "model_version": str(post.model_version_id) if post.model_version_id else None,
        "verdicts": list(post.verdicts.values("rule", "value", "reason")),
        "reactions": {"metrics": reading.metrics, "observed_at": reading.observed_at.isoformat()} if reading else None,
        "reports": [
            {"category": report.category, "text": report.text, "at": report.created_at.isoformat()}
            for report in Report.objects.filter(post=post)
        ],
    }


def attempt(takedown_id: UUID | str) -> Takedown:
    """Carry a takedown out as far as can be now; what is left is tried again later. Speaks with the platform."""
    taken = Takedown.objects.filter(pk=takedown_id, removed_at=None, next_attempt_at__lte=clock.now())
    claimed = taken.update(next_attempt_at=clock.now() + ATTEMPT, attempts=F("attempts") + 1)
    takedown: Takedown = Takedown.objects.get(pk=takedown_id)
    if not claimed:
        return takedown
    try:
        left = _remove(takedown)
    except FaceError as error:
        left = f"The platform refused: {error}"
    except Exception as error:  # a fault of ours must not end the order
        log.exception("takedown %s: could not be carried out", takedown.pk)
        left = f"{type(error).__name__}: {error}"
    _book(takedown, left)
    return takedown


def _remove(takedown: Takedown) -> str:
    """Returns what is still to be waited for; "" when the post is nowhere any more."""
    post = Post.objects.filter(pk=takedown.post_id).first()
    if post is None:  # its bot was deleted meanwhile: what is on the platform is not
        return _remove_orphan(takedown)
    if post.state == PostState.PUBLISHED:
        delivery.take_down_post(post.pk)
        return ""
    if post.state in OVER:
        return ""
    if PostState.CANCELLED not in TRANSITIONS[PostState(post.state)]:
        return f"It is being sent ({PostState(post.state).label.lower()}): it is dealt with once that is settled."
    cancel_post(post.pk)
    return ""


def _remove_orphan(takedown: Takedown) -> str:
    remote_id = takedown.evidence.get("remote_id")
    connection = Connection.objects.filter(pk=takedown.evidence["connection"]).first() if remote_id else None
    if remote_id and connection is None:
        return "Its connection was removed: take it down by hand, then give this up."
    if connection is not None:
        connection.face.delete(remote_id)
    return ""


@transaction.atomic
def _book(takedown: Takedown, left: str) -> None:
    takedown.error = left[:500]
    if left:
        wait = min(timedelta(minutes=2 ** min(takedown.attempts, 10)), LONGEST_WAIT)
        takedown.next_attempt_at = clock.now() + wait
    else:
        takedown.removed_at, takedown.next_attempt_at = clock.now(), None
    takedown.save(update_fields=["error", "next_attempt_at", "removed_at"])
    after = {"removed_at": takedown.removed_at, "error": takedown.error, "attempts": takedown.attempts}
    audit.record("takedown.attempt", takedown, before={"post": str(takedown.post_id)}, after=after)


@transaction.atomic
def retry(takedown_id: UUID | str) -> Takedown:
    """Let a takedown be tried again at once. `attempt` it once this is committed. Raises ValidationError."""
    takedown = Takedown.locked(takedown_id)
    if takedown.removed_at:
        raise ValidationError("The platform has confirmed that this post is gone.")
    takedown.next_attempt_at = clock.now()
    takedown.save(update_fields=["next_attempt_at"])
    audit.record("takedown.retry", takedown, after={"attempts": takedown.attempts})
    return takedown


@transaction.atomic
def give_up(takedown_id: UUID | str) -> Takedown:
    """Try no more: somebody saw to it by hand, or nobody can. The evidence stays. Raises ValidationError."""
    takedown = Takedown.locked(takedown_id)
    if takedown.removed_at or takedown.next_attempt_at is None:
        raise ValidationError("This takedown is not being tried.")
    takedown.next_attempt_at = None
    takedown.save(update_fields=["next_attempt_at"])
    audit.record("takedown.give_up", takedown, after={"attempts": takedown.attempts, "error": takedown.error})
    return takedown


def sweep() -> int:
    """Try what is due. Returns how many were tried."""
    # everyone: beat's sweep finds the takedowns of all organizations, then enters each one's tenant.
    due = Takedown.everyone.filter(next_attempt_at__isnull=False, next_attempt_at__lte=clock.now())
    rows = list(due.order_by("next_attempt_at").values_list("organization_id", "pk")[:BATCH])
    for organization_id, takedown_id in rows:
        with tenant(organization_id):
            attempt(takedown_id)
    return len(rows)
