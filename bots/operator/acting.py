"""What the operator does from the pages of the panel: each verb enters its organization and calls one service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.http import QueryDict

from accounts import clock
from accounts.tenancy import tenant
from bots.models import Post, Report, Sanction, Takedown
from bots.services import needs_human, oversight, reports, sanctions, takedowns
from bots.states import IllegalTransition
from faces.contract import FaceError

Verb = Callable[[UUID, QueryDict], str]
LONGEST_DAYS = 3650


def _reason(data: QueryDict) -> str:
    return data.get("reason", "").strip()


def _dismiss(pk: UUID, data: QueryDict) -> str:
    oversight.dismiss(pk, _reason(data))
    return "Dismissed: the rules' findings on this post no longer count."


def _block(pk: UUID, data: QueryDict) -> str:
    post = oversight.block(pk, _reason(data))
    return f"The post is {post.get_state_display().lower()}."


def _take_down(pk: UUID, data: QueryDict) -> str:
    takedown = takedowns.attempt(takedowns.take_down(pk, _reason(data)).pk)
    if takedown.removed_at:
        return "Taken down. The evidence is kept."
    return f"Ordered, and tried again until it is done. {takedown.error}"


def _sanction(pk: UUID, data: QueryDict) -> str:
    post = Post.objects.select_related("bot").get(pk=pk)
    takedown = Takedown.objects.filter(post_id=pk).first()
    bot = None if data.get("whole") else post.bot
    sanction = sanctions.impose(
        data.get("grade", ""), _reason(data), bot=bot, until=_until(data.get("days", "")), takedown=takedown
    )
    return f"Imposed: {sanction.get_grade_display().lower()}."


def _until(days: str) -> Any:
    if not days.strip():
        return None
    if not days.strip().isdigit() or not 1 <= int(days) <= LONGEST_DAYS:
        raise ValidationError({"days": "Give a number of days, or none for a sanction until it is lifted."})
    return clock.now() + timedelta(days=int(days))


def _lift(pk: UUID, data: QueryDict) -> str:
    sanctions.lift(pk)
    return "Lifted. What it paused stays paused until its people resume it."


def _dismiss_report(pk: UUID, data: QueryDict) -> str:
    reports.decide(pk, False, _reason(data))
    return "Dismissed."


def _uphold_report(pk: UUID, data: QueryDict) -> str:
    reports.decide(pk, True, _reason(data))
    return "Upheld. The post is still there: take it down if it must go."


def _appeal(granted: bool) -> Verb:
    def decide(pk: UUID, data: QueryDict) -> str:
        sanctions.decide_appeal(pk, granted, _reason(data))
        return "Answered. Its people are told."

    return decide


def _retry(pk: UUID, data: QueryDict) -> str:
    takedown = takedowns.attempt(takedowns.retry(pk).pk)
    return "It is gone." if takedown.removed_at else takedown.error


def _give_up_takedown(pk: UUID, data: QueryDict) -> str:
    takedowns.give_up(pk)
    return "It is tried no more."


def _send_again(pk: UUID, data: QueryDict) -> str:
    needs_human.send_again(pk)
    return "It is sent again."


def _give_up(pk: UUID, data: QueryDict) -> str:
    needs_human.give_up(pk)
    return "It is not sent again."


VERBS: dict[str, tuple[Any, Verb]] = {
    "post.dismiss": (Post, _dismiss),
    "post.block": (Post, _block),
    "post.take_down": (Post, _take_down),
    "post.sanction": (Post, _sanction),
    "post.send_again": (Post, _send_again),
    "post.give_up": (Post, _give_up),
    "report.dismiss": (Report, _dismiss_report),
    "report.uphold": (Report, _uphold_report),
    "appeal.grant": (Sanction, _appeal(True)),
    "appeal.refuse": (Sanction, _appeal(False)),
    "sanction.lift": (Sanction, _lift),
    "takedown.retry": (Takedown, _retry),
    "takedown.give_up": (Takedown, _give_up_takedown),
}
"""Verb → the model whose row it is about, and what it does; higher rooms add their own."""


def act(verb: str, pk: str, data: QueryDict) -> str:
    """Do it, and say what came of it. Raises ValidationError, with the words of whatever refused."""
    if verb not in VERBS:
        raise ValidationError("There is no such action.")
    model, do = VERBS[verb]
    try:
        # everyone: whose row it is decides which organization is entered.
        row = model.everyone.get(pk=pk)
        with tenant(row.organization_id):
            return do(row.pk, data)
    except (ObjectDoesNotExist, ValueError):
        raise ValidationError("This is not there any more.") from None
    except (IllegalTransition, FaceError) as error:
        raise ValidationError(str(error)) from None
