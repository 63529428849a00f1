"""A run's metrics in buckets of 2^4, 2^8, 2^12 and 2^16 steps, kept exact while points arrive.

Any level 2^n is read by grouping the next stored level below it (`training.series`). Every fourth level is stored: a
level in between costs a reader at most eight rows a bucket, and a writer, who renews each level at every flush, a
quarter of the work; all levels together are a fifteenth of the points. Below 2^4 the points themselves are as quick,
and above 2^16 there are at most 32,768 buckets, whatever the step.

Buckets are an index over the points: whoever finds them behind (rows of an older archive, or of the version before
them) brings them up to date with `catch_up`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from accounts.tenancy import active
from training.models import Run

SPREAD = 4
"""A stored level holds 2^SPREAD buckets of the one below."""
LEVELS = (4, 8, 12, 16)
LAST_STEP = 2**31 - 1

_RENEW = """
    INSERT INTO training_metricbucket (
        organization_id, run_id, name, level, number, count, total, low, low_step, high, high_step, last, last_step
    )
    SELECT %(organization)s, %(run)s, stretch.name, %(level)s, part.number, part.points, part.total,
        part.lowest[1], part.lowest[2], part.highest[1], -part.highest[2], part.latest[2], part.latest[1]
    FROM unnest(%(names)s::text[], %(firsts)s::int[], %(lasts)s::int[]) AS stretch(name, first, last)
    CROSS JOIN LATERAL ({rows}) AS part
    ON CONFLICT (run_id, name, level, number) DO UPDATE SET count = excluded.count, total = excluded.total,
        low = excluded.low, low_step = excluded.low_step, high = excluded.high, high_step = excluded.high_step,
        last = excluded.last, last_step = excluded.last_step
"""
# The grouping within LATERAL keeps the planner from joining by name alone, which takes the square of the points.
_FROM_POINTS = """
    SELECT step >> 4 AS number, count(*) AS points, sum(value) AS total, min(ARRAY[value, step]) AS lowest,
        max(ARRAY[value, -step]) AS highest, max(ARRAY[step, value]) AS latest
    FROM training_metric
    WHERE organization_id = %(organization)s AND run_id = %(run)s AND name = stretch.name
        AND step BETWEEN stretch.first AND stretch.last
    GROUP BY step >> 4
"""
_FROM_BELOW = """
    SELECT number >> 4 AS number, sum(count) AS points, sum(total) AS total, min(ARRAY[low, low_step]) AS lowest,
        max(ARRAY[high, -high_step]) AS highest, max(ARRAY[last_step, last]) AS latest
    FROM training_metricbucket
    WHERE organization_id = %(organization)s AND run_id = %(run)s AND name = stretch.name AND level = %(level)s - 4
        AND number BETWEEN stretch.first AND stretch.last
    GROUP BY number >> 4
"""
_BEHIND = """
    SELECT known.name, coalesce(kept.last + 1, 0)
    FROM unnest(%(names)s::text[]) AS known(name)
    CROSS JOIN LATERAL (
        SELECT max(last_step) AS last FROM training_metricbucket
        WHERE organization_id = %(organization)s AND run_id = %(run)s AND name = known.name AND level = 16
    ) AS kept
"""


def hold(run_id: UUID) -> None:
    """Let nobody else write this run's points or buckets until the transaction ends: two writers of one bucket would
    each miss the other's points. Without a key: rows may go on pointing to the run.
    """
    list(Run.objects.select_for_update(no_key=True).filter(pk=run_id).values_list("pk"))


def roll_up(run_id: UUID, points: Iterable[tuple[str, int]]) -> None:
    """Renew the buckets that hold these points (name, step), each level from the one below: one statement a level.
    Call it in the transaction that wrote the points, after `hold`.
    """
    steps: dict[str, list[int]] = defaultdict(list)
    for name, step in points:
        steps[name].append(step)
    _renew(run_id, {name: (min(found), max(found)) for name, found in steps.items()})


def catch_up(run_id: UUID, names: Iterable[str]) -> None:
    """Renew what lies beyond the last point that the buckets of these metrics know of."""
    with transaction.atomic():
        hold(run_id)
        with connection.cursor() as cursor:
            cursor.execute(_BEHIND, {"organization": active(), "run": run_id, "names": list(names)})
            behind = {name: (first, LAST_STEP) for name, first in cursor}
        _renew(run_id, behind)


def _renew(run_id: UUID, stretches: Mapping[str, tuple[int, int]]) -> None:
    """Renew all buckets of each metric that lie in a stretch of steps, from its first to its last."""
    with connection.cursor() as cursor:
        for level in LEVELS:
            # Whole buckets, counted in those of the level below.
            below = level - SPREAD
            asked: dict[str, Any] = {
                "organization": active(),
                "run": run_id,
                "level": level,
                "names": list(stretches),
                "firsts": [first >> level << SPREAD for first, _ in stretches.values()],
                "lasts": [last >> below | (1 << SPREAD) - 1 for _, last in stretches.values()],
            }
            cursor.execute(_RENEW.format(rows=_FROM_POINTS if level == LEVELS[0] else _FROM_BELOW), asked)
