"""Review: which proposed post a person looks at next, what they decide about it, and taking a decision back.

A decision holds for what the person saw: the post as it waited, with the very payload on their screen. Whoever comes
second decides nothing, and is told who was first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Case, Exists, OuterRef, Q, When

from accounts import audit
from bots import live
from bots.models import Bot, Decision, Post, Verdict
from bots.services import posts
from bots.services.scheduling import next_free_slot
from bots.states import IN_FLIGHT, PostState

Choice = Literal["approve", "decline", "edit"]
CHOICES: tuple[Choice, ...] = ("approve", "decline", "edit")
REASONS = (
    "Not our voice",
    "Not true",
    "Dull",
    "Said before",
    "Makes no sense",
    "Off topic",
    "Offensive",
    "Bad timing",
    "Too close to a training text",
)
"""Common reasons to decline a post, in the order of their keys, 1 to 9."""
WINDOW = 200
"""Of so many posts, those that wait longest, the next is chosen: so nothing waits for ever."""
MOST_COUNTED = 999


class DecidedMeanwhile(Exception):
    """Somebody else, or the same person elsewhere, was faster; the message says who did what."""


def waiting_count(bot: Bot | None = None) -> int:
    """How many posts of the bot, or of the organization, wait for a person; counted up to `MOST_COUNTED` + 1."""
    if bot:
        waits = _pending(bot).order_by("-created_at")  # of an index, whatever the planner thinks of the state
    else:
        waits = Post.objects.filter(bot__in=Bot.objects.all(), state=PostState.PENDING_REVIEW).order_by()
    counted: int = waits[: MOST_COUNTED + 1].count()
    return counted


def bot_to_review(skipped: Collection[str] = (), *, first: UUID | None = None) -> Bot | None:
    """The first bot by name of which a post waits that was not skipped; before all others the one with the id
    `first`.
    """
    waits = Post.objects.filter(bot=OuterRef("pk"), state=PostState.PENDING_REVIEW).exclude(pk__in=skipped)
    bots = Bot.objects.filter(Exists(waits) | Q(pk=first)).select_related("connection", "organization")
    found: Bot | None = bots.order_by(Case(When(pk=first, then=0), default=1), "name").first()
    return found


def in_order(bot: Bot, skipped: Collection[str] = ()) -> list[UUID]:
    """Ids of the posts to review, the next one first, at most `WINDOW`; those skipped are left out.

    Answers come first, since somebody waits for them; then what the rules passed, and among it the posts of which the
    reward model is least sure, whose audience teaches it most; what the rules flagged comes last, since it wants more
    thought. Where nothing tells posts apart, the one that waits longest comes first.
    """
    flags = Verdict.objects.filter(post=OuterRef("pk"), value=Verdict.Value.FLAG)
    rows = (
        _pending(bot)
        .exclude(pk__in=skipped)
        .annotate(flagged=Exists(flags))
        .order_by("created_at", "pk")
        .values_list("pk", "kind", "flagged", "provenance__predicted_sd")[:WINDOW]
    )
    # A later part of a thread is never surer or less sure than another: parts stay in the order of their making.
    ranked = sorted(rows, key=lambda row: (row[1] != Post.Kind.REPLY, row[2], -_number(row[3])))
    return [row[0] for row in ranked]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _pending(bot: Bot) -> Any:
    return Post.objects.filter(bot=bot, state=PostState.PENDING_REVIEW)


def when_sent(post: Post) -> datetime | None:
    """The slot that the post would be given, were it approved now; None when none is free in the next two days, or it
    takes no slot.
    """
    if post.kind == Post.Kind.REPLY or post.continues_id is not None:
        return None
    return next_free_slot(post.bot)


@transaction.atomic
def decide(
    post_id: UUID | str, choice: Choice, *, seen_sha256: str | None = None, reason: str = "", text: str = ""
) -> Post:
    """Approve, decline or rewrite a post that waits for review. A rewritten post goes on waiting, to be approved.

    Raises DecidedMeanwhile when it no longer waits, or is not what the person saw (`seen_sha256`); ValidationError for
    a text that cannot be published, which is then not kept.
    """
    if choice not in CHOICES:
        raise ValidationError({"choice": f"Choose one of: {', '.join(CHOICES)}."})
    post = Post.locked(post_id)
    if post.state != PostState.PENDING_REVIEW:
        raise DecidedMeanwhile(_who_was_faster(post))
    if seen_sha256 and seen_sha256 != post.payload_sha256:
        raise DecidedMeanwhile(f"{_last_by(post)} edited this post while you looked at it. Look at it again.")
    verbs: dict[Choice, Callable[[], Post]] = {
        "approve": lambda: posts.approve_post(post_id),
        "decline": lambda: posts.decline_post(post_id, reason),
        "edit": lambda: _rewrite(post_id, text),
    }
    return verbs[choice]()


def _rewrite(post_id: UUID | str, text: str) -> Post:
    post = posts.edit_post(post_id, text)
    if post.state == PostState.BLOCKED:
        blocks = post.verdicts.filter(value=Verdict.Value.BLOCK).values_list("reason", flat=True)
        raise ValidationError({"text": [f"A rule blocks this text: {reason}" for reason in blocks]})
    return post


def _who_was_faster(post: Post) -> str:
    label = PostState(post.state).label.lower()
    who = _last_by(post)
    return f"{who} was faster: this post is “{label}” by now. Nothing was changed."


def _last_by(post: Post) -> str:
    last = post.decisions.last()
    return last.by if last else "Somebody"


def last_decision(post_id: UUID | str) -> Decision | None:
    """The newest decision on a post, if it is the present actor's own."""
    last: Decision | None = Decision.objects.filter(post=post_id).select_related("post").last()
    return last if last is not None and last.by == _me() else None


def _me() -> str:
    return audit.actor().label[:200]


@transaction.atomic
def undo(post_id: UUID | str) -> Post:
    """Take back the newest decision on a post: the post waits again as it did before, and the decision is no lesson any
    more. Only who decided may, and only while nothing else happened to the post.

    Raises ValidationError, saying why not.
    """
    post = Post.locked(post_id)
    decision = post.decisions.last()
    if decision is None:
        raise ValidationError("There is no decision on this post to take back.")
    if decision.by != _me():
        raise ValidationError(f"{decision.by} decided on this post since: only who decides can take it back.")
    if refusal := _too_late(post, decision):
        raise ValidationError(refusal)
    before = {"state": post.state, "decision": decision.choice, "reason": decision.reason}
    if decision.choice == Decision.Choice.EDITED:
        post = posts.edit_post(post_id, decision.original_text)
    else:
        _wait_again(post)
    # Putting the old wording back was no decision for it, either.
    post.decisions.filter(pk__gte=decision.pk).delete()
    audit.record("post.undo", post, before=before, after={"state": post.state})
    live.tell(post.bot_id, {"type": "post", "post": str(post.pk), "state": post.state})
    return post


STILL = {
    Decision.Choice.APPROVED: (PostState.APPROVED, PostState.SCHEDULED),
    Decision.Choice.DECLINED: (PostState.DECLINED,),
    Decision.Choice.EDITED: (PostState.PENDING_REVIEW,),
}
"""The states that a decision leaves a post in: in any other, something else has happened since."""
ON_ITS_WAY = IN_FLIGHT | {PostState.PUBLISHED, PostState.REJECTED, PostState.NEEDS_HUMAN, PostState.DELETED}


def _too_late(post: Post, decision: Decision) -> str:
    """Why a decision can no longer be taken back, in words; "" when it can."""
    if post.state in STILL[Decision.Choice(decision.choice)] and post.text == decision.text:
        return ""
    label = PostState(post.state).label.lower()
    if decision.choice == Decision.Choice.APPROVED and post.state in ON_ITS_WAY:
        return f"It is too late to take this approval back: the post is “{label}”."
    return f"This decision cannot be taken back: the post was changed since, and is “{label}”."


def _wait_again(post: Post) -> None:
    post.move(PostState.PENDING_REVIEW)
    post.slot_utc = post.schedule = post.approved_at = None
    post.approved_sha256 = post.approved_by = post.decline_reason = ""
    post.save()
