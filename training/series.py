"""A run's metrics as charts draw them: few points, no spike lost, smoothed before they are thinned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from accounts.streamed import BATCH
from accounts.tenancy import active, tenant
from training import progress
from training.models import Metric, Run
from training.services import buckets
from training.services.run_choices import label

MOST_POINTS = 2000
PER_BUCKET = 3
"""Points that are kept of each bucket: its lowest, its highest and its last."""
LAST_STEP = buckets.LAST_STEP
SMOOTHINGS = (0, *(2**n for n in range(1, 17)))
"""Steps that a moving mean may be taken over; 0: none."""
FINEST = 2
"""A moving mean is taken over at least 2^-2 of the width of a drawn bucket: less could not be seen, and would cost."""

FACTS = """
    WITH RECURSIVE known(name) AS (
        (SELECT name FROM training_metric WHERE organization_id = %(organization)s AND run_id = %(run)s
         ORDER BY name LIMIT 1)
        UNION ALL
        SELECT (SELECT point.name FROM training_metric AS point
                WHERE point.organization_id = %(organization)s AND point.run_id = %(run)s AND point.name > known.name
                ORDER BY point.name LIMIT 1)
        FROM known WHERE known.name IS NOT NULL
    )
    SELECT known.name, ends.first, ends.last, kept.points, kept.last
    FROM known
    CROSS JOIN LATERAL (
        SELECT min(step) AS first, max(step) AS last FROM training_metric
        WHERE organization_id = %(organization)s AND run_id = %(run)s AND name = known.name
            AND step BETWEEN %(first)s AND %(last)s
    ) AS ends
    CROSS JOIN LATERAL (
        SELECT sum(count) AS points, max(last_step) AS last FROM training_metricbucket
        WHERE organization_id = %(organization)s AND run_id = %(run)s AND name = known.name AND level = 12
            AND number BETWEEN %(first)s >> 12 AND %(last)s >> 12
    ) AS kept
    WHERE ends.last IS NOT NULL AND (%(names)s::text[] IS NULL OR known.name = ANY(%(names)s))
"""
"""Each metric's first and last step in a range, how many points it has there at most, and how far its buckets go."""

READ = """
    SELECT piece.name, part.number, sum(part.count), sum(part.total), min(part.lowest), max(part.highest),
        max(part.latest)
    FROM unnest(%(names)s::text[], %(levels)s::int[], %(firsts)s::int[], %(lasts)s::int[], %(wanted)s::int[])
        AS piece(name, level, first, last, wanted)
    CROSS JOIN LATERAL (
        SELECT step >> piece.wanted AS number, count(*) AS count, sum(value) AS total,
            min(ARRAY[value, step]) AS lowest, max(ARRAY[value, -step]) AS highest, max(ARRAY[step, value]) AS latest
        FROM training_metric
        WHERE piece.level = 0 AND organization_id = %(organization)s AND run_id = %(run)s AND name = piece.name
            AND step BETWEEN piece.first AND piece.last
        GROUP BY 1
        UNION ALL
        SELECT number >> (piece.wanted - piece.level), sum(count), sum(total), min(ARRAY[low, low_step]),
            max(ARRAY[high, -high_step]), max(ARRAY[last_step, last])
        FROM training_metricbucket
        WHERE organization_id = %(organization)s AND run_id = %(run)s AND name = piece.name
            AND level = piece.level AND number BETWEEN piece.first AND piece.last
        GROUP BY 1
    ) AS part
    GROUP BY 1, 2
    ORDER BY 1, 2
"""
"""Pieces of stored levels (0: the points themselves), grouped into the buckets of the wanted levels."""


class Fact(NamedTuple):
    """What a metric has in a range of steps; `points` is an upper bound."""

    name: str
    first: int
    last: int
    points: int


class Bucket(NamedTuple):
    """The points of a metric with step >> level = number; each pair is (value, step)."""

    number: int
    points: int
    total: float
    low: tuple[float, int]
    high: tuple[float, int]
    last: tuple[float, int]


@dataclass(frozen=True)
class Plan:
    """How one metric is drawn: in buckets of 2^`level` steps, each value the mean over `smooth` steps (0: as it is)."""

    fact: Fact
    level: int
    smooth: int

    @property
    def fine(self) -> int:
        """The level that is read."""
        return min(self.level, self.smooth.bit_length() - 1) if self.smooth else self.level

    @property
    def reach(self) -> tuple[int, int]:
        """The steps that are read: with smoothing whole buckets, from where the first window begins."""
        first, last, width = self.fact.first, self.fact.last, 1 << self.fine
        if not self.smooth:
            return first, last
        return max(0, (first // width + 1) * width - self.smooth), min(LAST_STEP, (last // width + 1) * width - 1)


@dataclass(frozen=True)
class Drawn:
    """Metric → [[step, value], …], rising by step; and over how many steps each value of a metric is the mean."""

    series: dict[str, list[list[float]]]
    over: dict[str, int]


def series_of(run: Run, **asked: Any) -> dict[str, list[list[float]]]:
    """The series of `draw`, which says what may be asked."""
    return draw(run, **asked).series


def draw(
    run: Run,
    *,
    after: int = -1,
    before: int | None = None,
    most: int | None = MOST_POINTS,
    each: int | None = None,
    names: Sequence[str] = (),
    smooth: int = 0,
) -> Drawn:
    """The metrics of a run in the steps between `after` and `before` (both left out), in at most `most` points all
    together and `each` of a metric (at least 3).

    A metric of more points is thinned to the lowest, the highest and the last of buckets of 2^n steps, n as small as
    the room allows: no spike is lost, and asking again for a part of the range shows it finer. `smooth`, one of
    SMOOTHINGS, takes the mean over so many steps that end with a bucket, from sums over all points, before that.
    """
    last = LAST_STEP if before is None else before - 1
    facts = _facts(run, after + 1, last, names)
    plans = _plans(facts, most, each, smooth)
    found = _read(run, plans)
    series = {plan.fact.name: _points(plan, found[plan.fact.name]) for plan in plans}
    return Drawn(series, {plan.fact.name: plan.smooth for plan in plans if plan.smooth > 1})


def every_point(run: Run) -> Iterator[Metric]:
    """Each point of a run, metric by metric, rising by step, some at a time, for an answer that outlasts its view."""
    return _batches(run.pk, sorted(names_of(run)), active())


def _batches(run_id: UUID, names: Sequence[str], organization_id: UUID) -> Iterator[Metric]:
    for name in names:
        step = -1
        batch = [Metric()] * BATCH
        while len(batch) == BATCH:
            with tenant(organization_id):  # never across a yield: whoever reads has a context of their own
                beyond = Metric.objects.filter(run=run_id, name=name, step__gt=step).order_by("step")
                batch = list(beyond[:BATCH])
            yield from batch
            step = batch[-1].step if batch else step


def names_of(run: Run) -> set[str]:
    """The metrics that a run has."""
    return {fact.name for fact in _facts(run, 0, LAST_STEP, ())}


def _facts(run: Run, first: int, last: int, names: Sequence[str]) -> list[Fact]:
    if first > last:
        return []
    rows = _fact_rows(run, first, last, names)
    if behind := [name for name, _, latest, _, kept in rows if kept is None or kept < latest]:
        buckets.catch_up(run.pk, behind)
        rows = _fact_rows(run, first, last, names)
    return [Fact(name, low, high, min(points or 0, high - low + 1)) for name, low, high, points, _ in rows]


def _fact_rows(run: Run, first: int, last: int, names: Sequence[str]) -> list[tuple[str, int, int, int, int | None]]:
    asked: dict[str, Any] = {"organization": active(), "run": run.pk, "first": first, "last": last}
    asked["names"] = list(names) or None
    with connection.cursor() as cursor:
        cursor.execute(FACTS, asked)
        return list(cursor.fetchall())


def _plans(facts: Sequence[Fact], most: int | None, each: int | None, smooth: int) -> list[Plan]:
    """Short metrics keep all their points; the long ones share the room that is left."""
    plans, left = [], most
    by_need = sorted(facts, key=lambda fact: fact.points)
    for place, fact in enumerate(by_need):
        room = min(
            fact.points if left is None else left // (len(by_need) - place), fact.points if each is None else each
        )
        room = max(PER_BUCKET, room)
        level = 0 if fact.points <= room else _level(fact, room // PER_BUCKET)
        if smooth >> _level(fact, room):  # a mean is one point a bucket, where the bucket is no wider than its window
            level = min(level, _level(fact, room))
        left = None if left is None else left - min(fact.points, room)
        plans.append(Plan(fact, level, max(smooth, 1 << max(0, level - FINEST)) if smooth else 0))
    return sorted(plans, key=lambda plan: plan.fact.name)


def _level(fact: Fact, most_buckets: int) -> int:
    level = 0
    while (fact.last >> level) - (fact.first >> level) >= most_buckets:
        level += 1
    return level


def pieces(first: int, last: int, level: int) -> Iterator[tuple[int, int, int]]:
    """The range of steps as stored levels have it: (level, first number, last number), whole buckets of `level` or
    below in the middle, finer ones and points at its ends.
    """
    if first > last:
        return
    stored = max((each for each in buckets.LEVELS if each <= level), default=0)
    if not stored:
        yield 0, first, last
        return
    low, high = -(-first >> stored), (last + 1) >> stored
    if low >= high:
        yield from pieces(first, last, stored - 1)
        return
    yield from pieces(first, (low << stored) - 1, stored - 1)
    yield stored, low, high - 1
    yield from pieces(high << stored, last, stored - 1)


def _read(run: Run, plans: Sequence[Plan]) -> dict[str, list[Bucket]]:
    wanted = [(plan.fact.name, *piece, plan.fine) for plan in plans for piece in pieces(*plan.reach, plan.fine)]
    columns = list(zip(*wanted, strict=True)) or [()] * 5
    asked = dict(zip(("names", "levels", "firsts", "lasts", "wanted"), map(list, columns), strict=True))
    found: dict[str, list[Bucket]] = defaultdict(list)
    if not wanted:
        return found
    with connection.cursor() as cursor:
        cursor.execute(READ, asked | {"organization": active(), "run": run.pk})
        for name, number, count, total, low, high, latest in cursor:
            found[name].append(
                Bucket(
                    number,
                    int(count),
                    total,
                    (low[0], int(low[1])),
                    (high[0], -int(high[1])),
                    (latest[1], int(latest[0])),
                )
            )
    return found


def _points(plan: Plan, found: Sequence[Bucket]) -> list[list[float]]:
    """[[step, value], …] of a metric, rising by step."""
    if not plan.smooth:
        kept = {(step, value) for bucket in found for value, step in (bucket.low, bucket.high, bucket.last)}
        return [[step, value] for step, value in sorted(kept)]
    means = [(step, value) for step, value in _moving_means(plan, found) if plan.fact.first <= step <= plan.fact.last]
    groups: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for step, value in means:
        groups[step >> plan.level].append((step, value))
    thinned: set[tuple[int, float]] = set()
    for group in groups.values():
        thinned |= {min(group, key=lambda pair: pair[1]), max(group, key=lambda pair: pair[1]), group[-1]}
    return [[step, value] for step, value in sorted(thinned)]


def _moving_means(plan: Plan, found: Sequence[Bucket]) -> Iterator[tuple[int, float]]:
    """At the last step of each bucket that was read: the mean of the points of the `smooth` steps that end with it."""
    window = plan.smooth >> plan.fine
    totals, counts, begin = [each.total for each in found], [each.points for each in found], 0
    for place, bucket in enumerate(found):
        while found[begin].number <= bucket.number - window:
            begin += 1
        # Summed anew: of a running sum, a spike that has left the window would keep the rounding.
        yield bucket.last[1], sum(totals[begin : place + 1]) / sum(counts[begin : place + 1])


def runs_as_json(runs: Sequence[Run], **asked: Any) -> list[dict[str, Any]]:
    """Runs as the charts read them, in MOST_POINTS points all together."""
    found = []
    for run in runs:
        drawn = draw(run, most=MOST_POINTS // len(runs), **asked)
        about = {"id": str(run.pk), "kind": run.kind, "state": run.state, "pinned": run.pinned, "label": label(run)}
        found.append(about | {"metrics": drawn.series, "over": drawn.over, "marks": progress.marks_of(run)})
    return found
