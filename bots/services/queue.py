"""The curated queue: what waits for a slot and in which order, posts brought along in a file, and an owner who is told
when nothing is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse

from accounts import audit, clock
from accounts.notifications import settle, tell
from accounts.tenancy import tenant
from bots import live
from bots.models import Bot, Post, Schedule, Verdict
from bots.moderation.earlier import EarlierTexts
from bots.services import posts
from bots.services.scheduling import ORDERS, fill_slots
from bots.states import IllegalTransition, PostState
from faces.contract import OutgoingPost

MOST_BYTES = 1_000_000
MOST_LINES = 1000
BATCH = 50
"""Imported posts that are stored at once: as long as they take, the bot's kill switch waits."""
WAITING = (PostState.APPROVED, PostState.SCHEDULED)
COMING = (*WAITING, PostState.QUEUED, PostState.LEASED, PostState.SENDING)
Step = Literal["top", "up", "down", "bottom"]
STEPS: tuple[Step, ...] = ("top", "up", "down", "bottom")
NEW_LINE = re.compile(r"\r\n|\n|\r")
"""What ends a line; other characters that Unicode calls a break may stand within a post."""


def waiting(bot: Bot) -> QuerySet[Post]:
    """The bot's approved posts in the order in which they are sent: those with a slot by its time, then those that wait
    for one in the queue's order.
    """
    return _queued(bot).order_by("slot_utc", *ORDERS[Bot.QueueOrder.GIVEN])


def _queued(bot: Bot) -> QuerySet[Post]:
    """Answers, and the later parts of a thread, have a time of their own and no place in the queue."""
    found: QuerySet[Post] = Post.objects.filter(bot=bot, kind=Post.Kind.NEW, continues=None, state__in=WAITING)
    return found


@transaction.atomic
def move_post(post_id: UUID | str, step: Step) -> None:
    """Move a waiting post to another place of its queue; the slots are given out anew.

    Raises ValidationError when the queue's order is drawn by lot, or the post waits in no queue.
    """
    if step not in STEPS:
        raise ValidationError({"to": f"A post is moved to one of: {', '.join(STEPS)}."})
    bot = Bot.objects.select_for_update(of=("self",), no_key=True).get(pk=Post.objects.get(pk=post_id).bot_id)
    if bot.queue_order == Bot.QueueOrder.RANDOM:
        raise ValidationError("The order of this queue is drawn by lot: choose the given order to move posts.")
    # Those that were to be sent at a moment that a person chose keep it.
    order = list(waiting(bot).exclude(state=PostState.SCHEDULED, schedule=None).select_for_update(of=("self",)))
    at = next((place for place, post in enumerate(order) if str(post.pk) == str(post_id)), None)
    if at is None:
        raise ValidationError("This post does not wait in the queue: only approved posts that are not yet due do.")
    to = {"top": 0, "up": max(at - 1, 0), "down": min(at + 1, len(order) - 1), "bottom": len(order) - 1}[step]
    post = order.pop(at)
    order.insert(to, post)
    # Below 0, the place of whatever is approved later: that stays behind them.
    for place, each in enumerate(order):
        each.position = float(place - len(order))
        each.state, each.slot_utc, each.schedule = PostState.APPROVED, None, None
    Post.objects.bulk_update(order, ["position", "state", "slot_utc", "schedule"])
    audit.record("queue.move", post, before={"place": at + 1}, after={"place": to + 1})
    fill_slots(bot)
    live.tell(bot.pk, {"type": "post", "post": str(post.pk), "state": post.state})


@transaction.atomic
def set_order(bot: Bot, order: str) -> None:
    """Choose whether posts are sent in the queue's order or by lot; slots are given out anew. Raises
    ValidationError.
    """
    if order not in Bot.QueueOrder.values:
        raise ValidationError({"queue_order": f"The order is one of: {', '.join(Bot.QueueOrder.values)}."})
    held = Bot.objects.select_for_update(of=("self",), no_key=True).get(pk=bot.pk)
    before, held.queue_order = held.queue_order, order
    held.save(update_fields=["queue_order"])
    _queued(bot).filter(state=PostState.SCHEDULED, schedule__isnull=False).update(
        state=PostState.APPROVED, slot_utc=None, schedule=None
    )
    audit.record("bot.change", held, before={"queue_order": before}, after={"queue_order": order})
    fill_slots(held)
    bot.queue_order = order


def remove(bot: Bot, chosen: Iterable[str]) -> tuple[int, int]:
    """Withdraw several posts, given by their ids. Returns how many it was done to, and how many had moved on meanwhile
    and were left.
    """
    done = left = 0
    for pk in chosen:
        try:
            if not Post.objects.filter(pk=pk, bot=bot).exists():  # also refuses what is no id
                raise ValidationError("This post is not one of the bot's.")
            posts.cancel_post(pk)
        except (ValidationError, IllegalTransition):
            left += 1
        else:
            done += 1
    return done, left


@dataclass(frozen=True)
class Line:
    """A line of an imported file: its number, its text, why it is left out ("" when it is not), and what a person
    should look at before it is approved.
    """

    number: int
    text: str
    dropped: str = ""
    flagged: str = ""


def lines_of(content: bytes | str) -> list[tuple[int, str]]:
    """The lines of a file that are not blank, with their numbers. Raises ValidationError for one that is no UTF-8, too
    large, too long or empty.
    """
    raw = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    if len(raw) > MOST_BYTES:
        raise ValidationError({"file": f"The file is larger than {MOST_BYTES / 1e6:g} MB: divide it."})
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValidationError({"file": f"Line {line} is no UTF-8 text: save the file as UTF-8."}) from None
    found = [(number, line.strip()) for number, line in enumerate(NEW_LINE.split(text), 1) if line.strip()]
    if not found:
        raise ValidationError({"file": "There is no post in it: write one on each line."})
    if len(found) > MOST_LINES:
        raise ValidationError({"file": f"It has {len(found)} posts; at most {MOST_LINES} can be imported at once."})
    return found


def preview_import(bot: Bot, content: bytes | str) -> list[Line]:
    """What importing these lines would do with each, without doing it. Raises ValidationError as `lines_of` does."""
    earlier, looked = posts.earlier_texts(bot), []
    for number, text in lines_of(content):
        line = look(bot, number, text, earlier)
        if not line.dropped:
            earlier.add(text)
        looked.append(line)
    return looked


def look(bot: Bot, number: int, text: str, earlier: EarlierTexts) -> Line:
    """What would become of this text, were it proposed after those."""
    draft = posts.Draft(text)
    try:
        posts.check_draft(bot, OutgoingPost(text))
    except ValidationError as error:
        return Line(number, text, dropped=" ".join(error.messages))
    verdicts = posts.judged(bot, draft, earlier)
    said = {
        value: " ".join(verdict.reason for verdict in verdicts if verdict.value == value)
        for value in (Verdict.Value.BLOCK, Verdict.Value.FLAG)
    }
    return Line(number, text, dropped=said[Verdict.Value.BLOCK], flagged=said[Verdict.Value.FLAG])


def import_lines(bot: Bot, content: bytes | str, *, approve: bool = False) -> list[Post]:
    """Put a person's own posts, one a line, into the queue; what the preview would drop stays out. With `approve` those
    that no rule flagged are approved by that person. Importing a file again adds nothing: its posts are known by then.

    Raises ValidationError as `lines_of` does.
    """
    kept = [line for line in preview_import(bot, content) if not line.dropped]
    made: list[Post] = []
    for first in range(0, len(kept), BATCH):
        made += add(bot, kept[first : first + BATCH], approve)
    return made


@transaction.atomic
def add(bot: Bot, lines: Sequence[Line], approve: bool) -> list[Post]:
    """Propose these lines as posts, one for each."""
    flagged = {line.text for line in lines if line.flagged}
    made = posts.propose_posts(bot, [posts.Draft(line.text, provenance={"imported": line.number}) for line in lines])
    if approve:
        for place, post in enumerate(made):
            if post.state == PostState.PENDING_REVIEW and post.text not in flagged:
                made[place] = posts.approve_post(post.pk)
    return made


def notice_empty(waits: Q) -> int:
    """Tell the owners of every queue that ran empty, once until it has been filled again. Only bots count that `waits`
    leaves, that have an active schedule, are not paused and have published before. Returns how many were told.
    """
    # everyone: beat's sweep looks at the queues of all organizations, then enters each one's tenant.
    new = Post.everyone.filter(bot=OuterRef("pk"), kind=Post.Kind.NEW)
    # everyone: as above.
    active = Schedule.everyone.filter(bot=OuterRef("pk"), active=True)
    # everyone: as above.
    bots = Bot.everyone.annotate(coming=Exists(new.filter(state__in=COMING)))
    for organization_id, bot_id in bots.filter(coming=True, queue_empty_since__isnull=False).values_list(
        "organization_id", "pk"
    ):
        with tenant(organization_id):
            Bot.objects.filter(pk=bot_id).update(queue_empty_since=None)
            settle("queue.empty", f"bot {bot_id}")
    spoke = Exists(new.filter(state=PostState.PUBLISHED))
    empty = bots.filter(waits, Exists(active), spoke, coming=False, queue_empty_since=None, paused_at=None)
    told = 0
    for organization_id, bot_id in list(empty.values_list("organization_id", "pk")):
        with tenant(organization_id):
            told += _tell(bot_id)
    return told


@transaction.atomic
def _tell(bot_id: UUID) -> bool:
    """False: another sweep was faster."""
    if not Bot.objects.filter(pk=bot_id, queue_empty_since=None).update(queue_empty_since=clock.now()):
        return False
    bot = Bot.objects.select_related("organization").get(pk=bot_id)
    audit.record("queue.empty", bot)
    review = Post.objects.filter(bot=bot, state=PostState.PENDING_REVIEW, kind=Post.Kind.NEW).count()
    wait = f"{review} posts wait for somebody to review them. " if review else ""
    if review == 1:
        wait = "1 post waits for somebody to review it. "
    tell(
        "queue.empty",
        f"{bot} has nothing left to say",
        reverse("bots:queue", args=[bot.organization.slug, bot.pk]),
        f"The queue of {bot} is empty: its next slots pass without a post. {wait}Write posts, import a file, or let "
        "the bot write some ahead. You are told again only after it was filled and ran empty once more.",
        f"bot {bot.pk}",
    )
    return True
