"""What a person writes in the composer: posts, and when they are to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from django.core.exceptions import ValidationError
from django.db import transaction

from bots.models import Bot, Post, Verdict
from bots.services import posts, scheduling, threads
from bots.states import PostState

When = Literal["", "queue", "at", "now"]


@transaction.atomic
def compose(bot: Bot, drafts: Sequence[posts.Draft], when: When = "", at: datetime | None = None) -> list[Post]:
    """Propose a post, or the parts of a thread. With `when` its writer approves it, too: for the next free slot, for a
    moment, or for now. What a rule flags waits for review all the same, and what one blocks is blocked.

    Raises ValidationError for drafts that could never be posts, and for a moment that cannot be had: then nothing was
    made.
    """
    made = threads.propose_thread(bot, drafts)
    if not when:
        return made
    if when == "at" and at is None:
        raise ValidationError({"at": "Choose a day and a time."})
    made = [_approved(post) for post in made]
    if any(post.state != PostState.APPROVED for post in made):
        return made
    first = made[0]
    if when == "queue":
        scheduling.fill_slots(bot)
    elif when == "now":
        scheduling.publish_now(str(first.pk))
    elif at is not None:
        scheduling.schedule_post(first.pk, at)
    first.refresh_from_db()
    return made


def _approved(post: Post) -> Post:
    """The post, approved by its writer unless a rule wants it looked at."""
    flagged = post.verdicts.exclude(value=Verdict.Value.PASS).exists()
    return post if post.state != PostState.PENDING_REVIEW or flagged else posts.approve_post(post.pk)
