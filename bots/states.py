"""The life of a post: its states and every legal step between them, declared once.

The table is checked when this module loads, followed by the services (`Post.move`), and enforced by a trigger in the
database, which a test compares with it. Who takes which step when is told in docs/delivery.md.
"""

from __future__ import annotations

from django.db import models


class PostState(models.TextChoices):
    PENDING_REVIEW = "pending_review", "Waiting for review"
    BLOCKED = "blocked", "Blocked by a rule"
    DECLINED = "declined", "Declined"
    APPROVED = "approved", "Approved"
    SCHEDULED = "scheduled", "Scheduled"
    CANCELLED = "cancelled", "Cancelled"
    QUEUED = "queued", "Due"
    LEASED = "leased", "Being prepared"
    SENDING = "sending", "Being sent"
    PUBLISHED = "published", "Published"
    REJECTED = "rejected", "Refused by the platform"
    UNKNOWN = "unknown", "Outcome unknown"
    NEEDS_HUMAN = "needs_human", "Needs a person"
    DELETED = "deleted", "Taken down"


S = PostState

TRANSITIONS: dict[PostState, frozenset[PostState]] = {
    S.PENDING_REVIEW: frozenset({S.APPROVED, S.DECLINED, S.BLOCKED, S.CANCELLED}),
    S.BLOCKED: frozenset({S.PENDING_REVIEW}),
    S.DECLINED: frozenset({S.PENDING_REVIEW}),
    S.APPROVED: frozenset({S.SCHEDULED, S.PENDING_REVIEW, S.BLOCKED, S.CANCELLED, S.UNKNOWN}),
    S.SCHEDULED: frozenset({S.QUEUED, S.APPROVED, S.PENDING_REVIEW, S.BLOCKED, S.CANCELLED, S.UNKNOWN}),
    S.CANCELLED: frozenset(),
    S.QUEUED: frozenset({S.LEASED, S.SCHEDULED, S.CANCELLED, S.UNKNOWN}),
    S.LEASED: frozenset({S.QUEUED, S.SENDING, S.CANCELLED, S.UNKNOWN}),
    S.SENDING: frozenset({S.PUBLISHED, S.QUEUED, S.REJECTED, S.UNKNOWN}),
    S.UNKNOWN: frozenset({S.PUBLISHED, S.QUEUED, S.NEEDS_HUMAN}),
    S.NEEDS_HUMAN: frozenset({S.PUBLISHED, S.QUEUED, S.CANCELLED}),
    S.REJECTED: frozenset({S.PENDING_REVIEW, S.CANCELLED}),
    S.PUBLISHED: frozenset({S.DELETED}),
    S.DELETED: frozenset(),
}

START = frozenset({S.PENDING_REVIEW, S.BLOCKED, S.APPROVED})
"""States in which a post may be born: the rules and the bot's approval policy choose."""

EDITABLE = frozenset({S.PENDING_REVIEW, S.APPROVED, S.SCHEDULED, S.DECLINED, S.BLOCKED, S.REJECTED})
UPCOMING = frozenset({S.PENDING_REVIEW, S.APPROVED, S.SCHEDULED, S.QUEUED, S.LEASED, S.SENDING})
IN_FLIGHT = frozenset({S.QUEUED, S.LEASED, S.SENDING, S.UNKNOWN})


class IllegalTransition(Exception):
    """A step that the table does not have; the message names both states in words."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"A post that is “{PostState(old).label}” cannot become “{PostState(new).label}”.")
        self.old, self.new = old, new


def check(old: str, new: str) -> None:
    """Raises IllegalTransition unless the step is in the table."""
    if PostState(new) not in TRANSITIONS[PostState(old)]:
        raise IllegalTransition(old, new)


def sql_pairs() -> list[tuple[str, str]]:
    """The table as (old, new) pairs, sorted: what the database's trigger holds."""
    return sorted((old.value, new.value) for old, steps in TRANSITIONS.items() for new in steps)


def _validate() -> None:
    if missing := set(PostState) - set(TRANSITIONS):
        raise RuntimeError(f"bots.states: no transitions declared for {sorted(missing)}.")
    reachable, frontier = set(START), set(START)
    while frontier:
        frontier = {new for old in frontier for new in TRANSITIONS[old]} - reachable
        reachable |= frontier
    if lost := set(PostState) - reachable:
        raise RuntimeError(f"bots.states: no post can ever be {sorted(lost)}.")


_validate()
