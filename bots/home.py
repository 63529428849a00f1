"""What the home of an organization shows: what needs a person, its bots, and the first steps. Higher rooms add
theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Case, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.urls import reverse

from accounts import clock
from accounts.models import Organization
from bots import queries
from bots.models import Bot, Post, Sanction
from bots.standing import sanctions_in_force
from bots.states import PostState
from faces.models import Connection
from faces.registry import FACES

BOTS = 24
"""On one page."""
MOST_WAITING = 100
MOST_PUBLISHED = 1000
"""So far things are counted: beyond, "more than" is said."""
MOST_NEEDS = 20
"""Of one kind."""
SENDING_SOON = (PostState.SCHEDULED, PostState.QUEUED)
OVERDUE = timedelta(days=1)
"""So long ago the next post's slot may be: older ones are of bots that were paused."""

UNCERTAIN, BROKEN, WAITING, EMPTY = range(4)
"""How urgent a need is: nobody knows what was published, or nothing may be; work stopped; work waits; it runs out."""


@dataclass(frozen=True)
class Need:
    """Something that waits for a person: of whom, in words, and where it is done. `state` and `label` make its pill."""

    urgency: int
    state: str
    label: str
    whose: str
    words: str
    url: str


@dataclass(frozen=True)
class Curve:
    """The mean reward of a bot's latest rounds, and the frozen baseline's, as SVG paths in a box of 100 × 56; in words
    what it shows, and how the bot is doing.
    """

    line: str = ""
    rest: str = ""
    words: str = ""
    tone: str = "waiting"
    verdict: str = ""
    learning: str = ""


@dataclass(frozen=True)
class Step:
    """A first step, whether it is done, and where it is taken: `url` is empty for whoever may not."""

    name: str
    title: str
    words: str
    action: str
    url: str
    done: bool


@dataclass(frozen=True)
class Card:
    """A bot on the home."""

    bot: Bot
    state: str
    state_label: str
    next_at: datetime | None
    waiting: int
    published: int
    curve: Curve = field(default_factory=Curve)


NeedsOf = Callable[[str, Mapping[str, bool]], Iterable[Need]]
NEEDS: list[NeedsOf] = []
"""What higher rooms know of that needs a person: (organization's slug, permission → whether the asker has it)."""
CURVES: list[Callable[[Sequence[Bot]], Mapping[UUID, Curve]]] = []
"""How bots are doing, by the room that knows: bot's id → curve."""
FIRST_STEPS: dict[str, Callable[[], QuerySet[Any]]] = {
    "bot": lambda: Bot.objects.all(),
    "face": lambda: Connection.objects.exclude(kind__in=[name for name in FACES if FACES[name].needs_no_account]),
}
"""First step → rows of which one is there once it is done."""


class _Count(Subquery):
    """How many rows a (bounded) query has, as a column."""

    template = "(SELECT count(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


def _counted(rows: QuerySet[Any], most: int) -> _Count:
    return _Count(rows.values("pk")[: most + 1])


def _posts(state: PostState) -> QuerySet[Post]:
    """In the order of an index: without one the planner may read the whole table for a bot that has few of them."""
    return Post.objects.filter(bot=OuterRef("pk"), state=state).order_by("-created_at")


def bots_of_page(page: int) -> tuple[list[Bot], bool]:
    """The bots of a page (from 1), each with `next_at`, `waiting` and `published`; and whether another page follows."""
    upcoming = Post.objects.filter(
        bot=OuterRef("pk"), state__in=SENDING_SOON, slot_utc__gte=clock.now() - OVERDUE
    ).order_by("slot_utc")
    bots = Bot.objects.select_related("connection", "organization").annotate(
        next_at=Subquery(upcoming.values("slot_utc")[:1]),
        waiting=_counted(_posts(PostState.PENDING_REVIEW), MOST_WAITING),
        published=_counted(_posts(PostState.PUBLISHED), MOST_PUBLISHED),
    )
    rows = list(bots[(page - 1) * BOTS : page * BOTS + 1])
    return rows[:BOTS], len(rows) > BOTS


def cards(bots: Sequence[Bot]) -> list[Card]:
    """Bots of `bots_of_page` as the page shows them."""
    curves: dict[UUID, Curve] = {}
    for curves_of in CURVES:
        curves |= curves_of(bots)
    return [_card(bot, curves.get(bot.pk, Curve())) for bot in bots]


def _card(bot: Any, curve: Curve) -> Card:
    state, label = queries.state_of(bot)
    if state == "active" and bot.connection.state == Connection.State.BROKEN:
        state, label = "broken", "Connection broken"
    return Card(bot, state, label, bot.next_at, bot.waiting, bot.published, curve)


class _Row(NamedTuple):
    """Something that may need a person, as one query finds it beside others."""

    what: str
    id: UUID
    whose: str
    words: str
    detail: str
    number: int


def needs(organization: Organization, can: Mapping[str, bool], unsettled: int) -> list[Need]:
    """What waits for a person who may do these things, the most urgent first; `unsettled` posts are among it, of which
    nobody knows whether they were published.
    """
    slug, found = organization.slug, list[Need]()
    if unsettled and can["post_approve"]:
        words = f"{unsettled} posts need a person: it is not known whether they were published"
        if unsettled == 1:
            words = "1 post needs a person: it is not known whether it was published"
        url = reverse("bots:needs-human", args=[slug])
        found.append(Need(UNCERTAIN, "needs_human", "Outcome unknown", "Published or not?", words, url))
    for row in map(_Row._make, _rows(can)):
        found += _needs_of(row, slug, can)
    for needs_of in NEEDS:
        found += needs_of(slug, can)
    return sorted(found, key=lambda need: (need.urgency, need.whose))


def _rows(can: Mapping[str, bool]) -> QuerySet[Any]:
    """Sanctions that hold, connections that are broken, and bots whose posts wait or whose queue ran empty."""
    nothing = Value("")
    whose = Coalesce("bot__name", Value("The whole organization"))
    holding = sanctions_in_force().order_by().values_list(Value("sanction"), "pk", whose, "reason", "grade", Value(0))
    others = []
    if can["connection_edit"]:
        broken = Connection.objects.filter(state=Connection.State.BROKEN).order_by()
        others.append(broken.values_list(Value("connection"), "pk", "name", "problem", nothing, Value(0))[:MOST_NEEDS])
    if can["post_approve"]:
        review, runs_empty = _posts(PostState.PENDING_REVIEW), Q(queue_empty_since__isnull=False, paused_at=None)
        bots = Bot.objects.filter(runs_empty | Exists(review)).order_by()
        empty = Case(When(runs_empty, then=Value("empty")), default=nothing)
        waiting = _counted(review, MOST_WAITING)
        others.append(bots.values_list(Value("bot"), "pk", "name", nothing, empty, waiting)[:MOST_NEEDS])
    return holding[:MOST_NEEDS].union(*others, all=True)


def _needs_of(row: _Row, slug: str, can: Mapping[str, bool]) -> Iterator[Need]:
    if row.what == "sanction":
        grade, url = Sanction.Grade(row.detail), reverse("bots:sanctions", args=[slug])
        suspended = grade == Sanction.Grade.SUSPENSION
        urgency, state = (UNCERTAIN, "broken") if suspended else (WAITING, "warning")
        yield Need(urgency, state, grade.label, row.whose, row.words, url)
    elif row.what == "connection":
        words = row.words or "Its platform does not take the credentials."
        url = reverse("faces:connection", args=[slug, row.id])
        yield Need(BROKEN, "broken", "Connection broken", row.whose, words, url)
    if row.number:
        number = f"More than {MOST_WAITING}" if row.number > MOST_WAITING else str(row.number)
        words = f"{number} post{' waits' if row.number == 1 else 's wait'} for your yes or no"
        url = reverse("bots:review", args=[slug, row.id])
        yield Need(WAITING, "pending_review", "To review", row.whose, words, url)
    if row.detail == "empty" and can["post_write"]:
        url = reverse("bots:queue", args=[slug, row.id])
        yield Need(EMPTY, "warning", "Queue empty", row.whose, "It has nothing left to say", url)


def first_steps(organization: Organization, can: Mapping[str, bool], newest: Bot | None) -> list[Step]:
    """The three steps of a new organization; [] once all are done. Posts are brought to the newest bot."""
    rows = {name: Exists(rows_of()) for name, rows_of in FIRST_STEPS.items()}
    values: tuple[bool, ...] = Organization.objects.filter(pk=organization.pk).values_list(*rows.values()).get()
    done = dict(zip(rows, values, strict=True))
    if all(done.values()):
        return []
    slug = organization.slug
    upload = reverse("training:dataset-upload", args=[slug, newest.pk]) if newest else reverse("bots:new", args=[slug])
    return [
        Step(
            "bot",
            "Meet a bot that learns",
            "It writes headlines for a simulated audience and begins to learn at once: no account, no keys, nothing "
            "leaves this installation.",
            "Make a sandbox bot",
            reverse("training:sandbox-bot", args=[slug]) if can["bot_edit"] else "",
            done["bot"],
        ),
        Step(
            "posts",
            "Bring your own posts",
            "A table, a text or an archive of your account. You see what was understood before anything is kept.",
            "Upload posts",
            upload if can["dataset_edit"] else "",
            done["posts"],
        ),
        Step(
            "face",
            "Connect a face",
            f"An account on {_platforms()}. Nothing is published without your yes, until you decide otherwise.",
            "Connect an account",
            reverse("faces:connections", args=[slug]) if can["connection_edit"] else "",
            done["face"],
        ),
    ]


def _platforms() -> str:
    *others, last = (kind.label for kind in FACES.values() if not kind.needs_no_account)
    return f"{', '.join(others)} or {last}"
