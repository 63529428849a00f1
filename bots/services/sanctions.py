"""Sanctions: what the operator imposes on a bot or an organization, in three grades, with notice and one appeal.

A warning is told and kept. Under review no post is approved by the bot's policy, whatever its own setting. A suspension
presses the kill switch, and the sending guard asks for it besides: as long as it is in force, its own people cannot
resume what is suspended. When it ends they may, and nothing is sent before they do.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse

from accounts import audit, clock
from accounts.models import Organization
from accounts.notifications import tell
from accounts.services import pause_organization
from accounts.tenancy import active, tenant
from bots.models import Bot, Post, Sanction, Takedown
from bots.sanctioned import BY_POLICY
from bots.services.bots import pause_bot
from bots.states import PostState

Grade = Sanction.Grade


@transaction.atomic
def impose(
    grade: str, reason: str, *, bot: Bot | None = None, until: datetime | None = None, takedown: Takedown | None = None
) -> Sanction:
    """Impose a sanction on a bot, or on the whole active organization, and tell its people. Raises ValidationError."""
    reason = reason.replace("\0", "").strip()
    if not reason:
        raise ValidationError({"reason": "Say why: its people read this."})
    if until and until <= clock.now():
        raise ValidationError({"until": "Choose a moment that is still to come, or none."})
    sanction = Sanction(bot=bot, grade=grade, reason=reason[:1000], until=until, takedown=takedown)
    sanction.by = audit.actor().label[:200]
    if grade not in Grade.values:
        raise ValidationError({"grade": f"Choose one of: {', '.join(Grade.values)}."})
    sanction.save()
    told = {"grade": grade, "reason": reason, "bot": str(bot.pk) if bot else None, "until": until}
    audit.record("sanction.impose", sanction, after=told)
    if grade == Grade.SUSPENSION:
        _stop(bot, reason)
    elif grade == Grade.REVIEW:
        _back_to_review(bot)
    tell("sanction.imposed", f"{sanction.get_grade_display()}: {bot or 'the whole organization'}", path(), reason)
    return sanction


def path() -> str:
    """The page where the active organization reads its sanctions."""
    return reverse("bots:sanctions", args=[Organization.objects.get(pk=active()).slug])


def _stop(bot: Bot | None, reason: str) -> None:
    if bot is not None:
        pause_bot(Bot.locked(bot.pk), f"Suspended by the operator: {reason}")
        return
    organization = Organization.objects.select_for_update(no_key=True).get(pk=active())
    if organization.paused_at is None:
        pause_organization(organization)


def _back_to_review(bot: Bot | None) -> None:
    """What the approval policy approved and nobody has sent yet waits for a person."""
    waiting = Post.objects.filter(state__in=[PostState.APPROVED, PostState.SCHEDULED], approved_by=BY_POLICY)
    for post in (waiting.filter(bot=bot) if bot else waiting).select_for_update(of=("self",)):
        before = {"state": post.state}
        post.move(PostState.PENDING_REVIEW)
        post.slot_utc = post.schedule = post.approved_at = None
        post.approved_sha256 = post.approved_by = ""
        post.save()
        audit.record("post.back_to_review", post, before=before, after={"state": post.state})


@transaction.atomic
def lift(sanction_id: UUID | str, by: str = "") -> Sanction:
    """End a sanction before its time. What it paused stays paused until its people resume it. Raises
    ValidationError.
    """
    sanction = Sanction.locked(sanction_id)
    if sanction.lifted_at:
        raise ValidationError("This sanction has ended already.")
    return _end(sanction, by or audit.actor().label)


def _end(sanction: Sanction, by: str) -> Sanction:
    sanction.lifted_at, sanction.lifted_by = clock.now(), by[:200]
    sanction.save(update_fields=["lifted_at", "lifted_by"])
    audit.record(
        "sanction.lift", sanction, before={"lifted_at": None}, after={"lifted_at": sanction.lifted_at, "by": by}
    )
    return sanction


@transaction.atomic
def appeal(sanction_id: UUID | str, text: str) -> Sanction:
    """Ask the operator to look again, which can be done once. Raises ValidationError."""
    text = text.replace("\0", "").strip()
    sanction = Sanction.locked(sanction_id)
    if sanction.appeal != Sanction.Appeal.NONE:
        raise ValidationError("There was an appeal against this sanction already: it can be made once.")
    if sanction.lifted_at or (sanction.until and sanction.until <= clock.now()):
        raise ValidationError("This sanction has ended: there is nothing to appeal against.")
    if not text:
        raise ValidationError({"text": "Say why it should be lifted."})
    sanction.appeal, sanction.appeal_text = Sanction.Appeal.OPEN, text[:4000]
    sanction.appealed_by, sanction.appealed_at = audit.actor().label[:200], clock.now()
    sanction.save(update_fields=["appeal", "appeal_text", "appealed_by", "appealed_at"])
    audit.record("sanction.appeal", sanction, after={"text": text})
    return sanction


@transaction.atomic
def decide_appeal(sanction_id: UUID | str, granted: bool, answer: str) -> Sanction:
    """Answer an appeal; granting it lifts the sanction. Raises ValidationError."""
    answer = answer.replace("\0", "").strip()
    sanction = Sanction.locked(sanction_id)
    if sanction.appeal != Sanction.Appeal.OPEN:
        raise ValidationError("There is no open appeal against this sanction.")
    if not answer:
        raise ValidationError({"reason": "Say why: whoever appealed reads this."})
    sanction.appeal = Sanction.Appeal.GRANTED if granted else Sanction.Appeal.REFUSED
    sanction.appeal_answer = answer[:4000]
    sanction.appeal_decided_by, sanction.appeal_decided_at = audit.actor().label[:200], clock.now()
    sanction.save(update_fields=["appeal", "appeal_answer", "appeal_decided_by", "appeal_decided_at"])
    audit.record("sanction.decide_appeal", sanction, after={"appeal": sanction.appeal, "answer": answer})
    if granted and not sanction.lifted_at:
        _end(sanction, audit.actor().label)
    tell("appeal.answered", f"Your appeal: {sanction.get_appeal_display().lower()}", path(), answer)
    return sanction


def end_expired() -> int:
    """Close the sanctions whose time is over. Returns how many."""
    # everyone: beat's sweep finds the sanctions of all organizations, then enters each one's tenant.
    over = Sanction.everyone.filter(lifted_at=None, until__lte=clock.now()).values_list("organization_id", "pk")
    ended = 0
    for organization_id, sanction_id in over[:500]:
        with tenant(organization_id), transaction.atomic():
            sanction = Sanction.locked(sanction_id)
            if sanction.lifted_at is None:
                _end(sanction, "its time was over")
                ended += 1
    return ended
