"""How a bot's versions descend from each other, as pages draw it: a list, newest first, with lanes beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import Q

from bots.models import Bot
from training.models import Canary, ModelVersion
from training.services.versions import ROLLED_BACK

MOST_LANES = 8
LANE, NODE_Y = 16, 17
"""Pixels from one lane to the next, and from the top of a row to its node."""


@dataclass(frozen=True)
class Line:
    """A stroke of one row's picture: x in pixels, y with its unit."""

    x1: int
    y1: str
    x2: int
    y2: str


@dataclass
class Place:
    """Where a version stands in the picture: its lane, and the strokes of its row."""

    lane: int
    lines: list[Line] = field(default_factory=list)

    @property
    def x(self) -> int:
        """The node's, in pixels."""
        return _x(self.lane)


def places(versions: Iterable[tuple[UUID, UUID | None]], current: UUID | None = None) -> dict[UUID, Place]:
    """The place of each of the versions (id, parent's id), which stand newest first.

    A version stands in the lane of its newest child, so that a lineage without branches is one straight line; a branch
    has a lane of its own until it reaches its parent. The `current` one and what it comes from have the first lane.
    What finds no lane (`MOST_LANES`) has a node without strokes.
    """
    awaited: list[UUID | None] = [] if current is None else [current]
    kept_free = current is not None  # no stroke comes from above in the lane that waits for the current one
    found = {}
    for version, parent in versions:
        arriving = [lane for lane, awaits in enumerate(awaited) if awaits == version]
        passing = [
            lane for lane, awaits in enumerate(awaited) if awaits not in (None, version) and (lane or not kept_free)
        ]
        free = arriving or [lane for lane, awaits in enumerate(awaited) if awaits is None]
        if not free and len(awaited) < MOST_LANES:
            awaited.append(None)
            free = [len(awaited) - 1]
        place = found[version] = Place(free[0] if free else MOST_LANES - 1)
        place.lines += [Line(_x(lane), "0", _x(lane), "100%") for lane in passing]
        place.lines += [Line(_x(lane), "0", place.x, str(NODE_Y)) for lane in arriving if lane or not kept_free]
        kept_free = kept_free and version != current
        for lane in arriving:
            awaited[lane] = None
        if parent is not None and free:
            awaited[place.lane] = parent
            place.lines.append(Line(place.x, str(NODE_Y), place.x, "100%"))
    return found


def _x(lane: int) -> int:
    return LANE // 2 + LANE * lane


def width(found: Iterable[Place]) -> int:
    """Pixels that the picture takes."""
    return LANE * (1 + max((place.lane for place in found), default=0))


def drawn(bot: Bot, page: Sequence[ModelVersion]) -> dict[UUID, Place]:
    """The places of a page's versions: those before it are asked for as well, since their lines may lead into it."""
    if not page:
        return {}
    above = ModelVersion.objects.filter(bot=bot, number__gte=page[-1].number).order_by("-number")
    rows = list(above.values_list("pk", "parent_id", "is_current"))
    current = next((pk for pk, _, speaks in rows if speaks), None)
    found = places([(pk, parent) for pk, parent, _ in rows], current)
    return {version.pk: found[version.pk] for version in page}


@dataclass(frozen=True)
class Standing:
    """What has become of a version: "current", "running" (on trial) or "rolled_back", in words, and why."""

    state: str
    label: str
    why: str = ""


def trials_of(bot: Bot, versions: Sequence[ModelVersion]) -> list[Canary]:
    """The bot's trial that is under way, and those of the versions that were rolled back, in order of time."""
    running, rolled_back = Q(state=Canary.State.RUNNING), Q(state=Canary.State.ROLLED_BACK, version__in=versions)
    found = Canary.objects.filter(running | rolled_back, bot=bot).select_related("version", "against")
    return list(found.order_by("started_at"))


def running_of(trials: Sequence[Canary]) -> Canary | None:
    """The one that is under way."""
    return next((trial for trial in trials if trial.state == Canary.State.RUNNING), None)


def standings(versions: Sequence[ModelVersion], trials: Sequence[Canary]) -> dict[UUID, Standing]:
    """The standing of those versions that have one; `trials` are those of `trials_of`."""
    found, last = {}, {trial.version_id: trial for trial in trials}
    for version in versions:
        trial, back = last.get(version.pk), version.report.get(ROLLED_BACK)
        if version.is_current:
            found[version.pk] = Standing("current", "Speaking now")
        elif trial is not None and trial.state == Canary.State.RUNNING:
            found[version.pk] = Standing("running", "On trial")
        elif back:
            words = f"v{back['to']} took over again. {back['reason']}".strip()
            found[version.pk] = Standing("rolled_back", "Rolled back", words)
        elif trial is not None:
            found[version.pk] = Standing("rolled_back", "Rolled back", trial.reason)
    return found


def spread(bot: Bot, most: int = 4) -> list[ModelVersion]:
    """Versions worth comparing: the first, the current one (else the newest), and some between them."""
    known = dict(ModelVersion.objects.filter(bot=bot).order_by("number").values_list("number", "pk"))
    numbers = list(known)
    if not numbers:
        return []
    current = ModelVersion.objects.filter(bot=bot, is_current=True).values_list("number", flat=True).first()
    until = numbers.index(current) if current in known else len(numbers) - 1
    if until == 0:  # the first one speaks: whatever came after it is compared with it
        until = len(numbers) - 1
    steps = max(1, min(most, until + 1) - 1)
    chosen = {numbers[round(until * step / steps)] for step in range(steps + 1)}
    return list(ModelVersion.objects.filter(bot=bot, number__in=chosen).order_by("number"))
