"""What sanctions and takedowns forbid at this moment, for whoever is about to do it: the sending guard, the approval
policy, and those who resume. Imposing them is in bots/services/sanctions.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from accounts.models import Organization
from bots.models import Bot, Post, Sanction, Takedown
from bots.standing import sanctions_in_force

Grade = Sanction.Grade
BY_POLICY = "approval policy"
"""Who approved what no person did (`Post.approved_by`)."""


def in_force(bot: Bot | None) -> QuerySet[Sanction]:
    """The active organization's sanctions that hold now: of the bot and of all its bots; of no bot alone for None."""
    return sanctions_in_force(bot) if bot is not None else sanctions_in_force().filter(bot=None)


def why_suspended(bot: Bot | None) -> str:
    """Why the bot (or, for None, the whole organization) may publish nothing, in words; "" when it may."""
    return _suspension(in_force(bot).filter(grade=Grade.SUSPENSION).order_by("at")[:1])


def _suspension(sanctions: Iterable[Sanction]) -> str:
    """The first suspension among sanctions, in words; "" where there is none."""
    sanction = next((each for each in sanctions if each.grade == Grade.SUSPENSION), None)
    if sanction is None:
        return ""
    what = "This bot" if sanction.bot_id else "This organization"
    until = f" until {sanction.until:%d %B %Y, %H:%M} UTC" if sanction.until else ""
    return f"{what} is suspended by the operator of this installation{until}: {sanction.reason}"


def why_held(posts: Sequence[Post]) -> dict[UUID, str]:
    """Why the operator keeps some of the active organization's posts from being sent, in words."""
    down = set(Takedown.objects.filter(post_id__in=[post.pk for post in posts]).values_list("post_id", flat=True))
    sanctions = list(sanctions_in_force().order_by("at"))
    told = {}
    for post in posts:
        touching = [each for each in sanctions if each.bot_id in (None, post.bot_id)]
        told[post.pk] = _why_held(post, touching, taken_down=post.pk in down)
    return {pk: why for pk, why in told.items() if why}


def _why_held(post: Post, sanctions: Sequence[Sanction], *, taken_down: bool) -> str:
    if taken_down:
        return "The operator of this installation took this post down."
    if told := _suspension(sanctions):
        return told
    if post.approved_by == BY_POLICY and any(each.grade != Grade.WARNING for each in sanctions):
        return "The operator demands that a person approves every post: cancel this one, or edit and approve it."
    return ""


def demands_review(bot: Bot) -> bool:
    """Whether a person must approve every post, whatever the bot's own setting."""
    return in_force(bot).exclude(grade=Grade.WARNING).exists()


def demand_no_suspension(bot: Bot) -> None:
    """Raises ValidationError while the bot is suspended, or its organization."""
    if told := _with_appeal(why_suspended(bot)):
        raise ValidationError(told)


def obstacle_to_resuming(organization: Organization) -> str:
    """Why the active organization may not be resumed by its people, in words; "" when it may."""
    return _with_appeal(why_suspended(None))


def obstacle_to_deleting(bot: Bot) -> str:
    """A bot under a sanction stays, so that nobody begins anew without it."""
    if in_force(bot).filter(bot=bot).exclude(grade=Grade.WARNING).exists():
        return f"{bot} is under a sanction of the operator, and cannot be deleted before that has ended."
    return ""


def _with_appeal(told: str) -> str:
    return f"{told} It can be resumed when the suspension has ended: you may appeal against it." if told else ""
