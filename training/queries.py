"""Reads that more than one caller shares."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Avg, Count, Max, Min

from accounts.tenancy import active
from bots.models import Bot
from training.models import Dataset, Example, Round, Run, SampleSet

MOST_POINTS = 2000
PER_BUCKET = 3
"""Points that are kept of each bucket: its lowest, its highest and its last."""

SERIES = """
    WITH facts AS (
        SELECT name, min(step) AS first, max(step) AS last, count(*) AS points
        FROM training_metric
        WHERE organization_id = %(organization)s AND run_id = %(run)s AND step > %(after)s
            AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
        GROUP BY name
    )
    SELECT name, min(ARRAY[value, step]), max(ARRAY[value, -step]), max(ARRAY[step, value])
    FROM training_metric JOIN facts USING (name)
    WHERE organization_id = %(organization)s AND run_id = %(run)s AND step > %(after)s
    GROUP BY name, CASE
        WHEN points <= %(most)s THEN step::bigint
        ELSE (step - first)::bigint * %(buckets)s / (last - first + 1)
    END
"""
"""A run's metrics in buckets of equal width in steps, or one bucket a step where they are few enough."""


def series_of(
    run: Run, *, after: int = -1, most: int = MOST_POINTS, names: Sequence[str] = ()
) -> dict[str, list[list[float]]]:
    """Each metric of a run as [[step, value], …], rising by step, from the steps above `after`. A metric of more than
    `most` points (at least 3) is thinned to that many by keeping the lowest, the highest and the last point of every
    bucket, so that no spike is lost; the database does that.
    """
    asked: dict[str, Any] = {
        "organization": active(),
        "run": run.pk,
        "after": after,
        "names": list(names) or None,
        "most": most,
        "buckets": max(1, most // PER_BUCKET),
    }
    series: dict[str, set[tuple[int, float]]] = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute(SERIES, asked)
        for name, (low, low_at), (high, high_at), (last_at, last) in cursor:
            series[name] |= {(int(low_at), low), (int(-high_at), high), (int(last_at), last)}
    return {name: [[step, value] for step, value in sorted(series[name])] for name in sorted(series)}


def run_series(run: Run) -> dict[str, Any]:
    """A run as the charts read it."""
    return {
        "id": str(run.pk),
        "kind": run.kind,
        "state": run.state,
        "label": str(run),
        "metrics": series_of(run),
    }


def latest_runs(bot: Bot) -> list[Run]:
    """The bot's latest run of each kind: what its overview shows."""
    found = [Run.objects.filter(bot=bot, kind=kind).first() for kind in Run.Kind.values]
    return [run for run in found if run is not None]


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """A dataset in numbers."""
    rows = Example.objects.filter(dataset=dataset)
    facts: dict[str, Any] = rows.aggregate(
        count=Count("pk"), scored=Count("score"), first_at=Min("posted_at"), last_at=Max("posted_at"), mean=Avg("score")
    )
    lengths = [len(text) for text in rows.values_list("text", flat=True)[:20_000]]
    for name in ("author", "community", "topic"):
        plural = "communities" if name == "community" else f"{name}s"
        facts[plural] = rows.exclude(**{name: ""}).values(name).distinct().count()
    facts["answers"] = rows.exclude(context="").count()
    facts["median_length"] = statistics.median(lengths) if lengths else None
    return facts


def lift(bot: Bot) -> dict[str, Any]:
    """Whether the bot is getting better, from its latest online run's latest round: a sentence, its detail, and the
    arms.
    """
    last = Round.objects.filter(run__bot=bot, run__kind=Run.Kind.ONLINE).order_by("-finished_at", "-number").first()
    if last is None:
        return {
            "tone": "waiting",
            "sentence": "Is it getting better? Not yet known: online learning has not begun.",
            "detail": "After fine-tuning, the bot publishes posts of two kinds, its own and those of a frozen copy, "
            "and compares the reactions.",
        }
    answer = {"arms": _arms(last.metrics), "decisions": last.decisions, **_sentence(last.metrics)}
    answer["detail"] = (
        f"After round {last.number}. One unit (sd) is one standard deviation of all rewards of this bot. The interval "
        "holds however often you look. It is about all posts since learning began, so what changed lately, a rollback "
        "too, shows in it slowly."
    )
    return answer


def _sentence(metrics: dict[str, float]) -> dict[str, str]:
    value, low, high = (metrics.get(name) for name in ("lift", "lift_low", "lift_high"))
    ours, theirs = (int(metrics.get(name, 0)) for name in ("learning_posts", "baseline_posts"))
    if value is None or low is None or high is None:
        return {
            "tone": "waiting",
            "sentence": "Is it getting better? Not yet known: too few posts have a score, "
            f"{ours} of its own and {theirs} of the frozen baseline.",
        }
    if low <= 0 <= high:
        return {
            "tone": "unknown",
            "sentence": f"Not yet known: its {ours} posts score {_apart(value)} the {theirs} of the frozen baseline, "
            f"but anything from {_signed(low)} to {_signed(high)} sd fits what was seen (95 %).",
        }
    word, tone = ("Yes", "better") if low > 0 else ("No", "worse")
    return {
        "tone": tone,
        "sentence": f"{word}: its {ours} posts score {_apart(value)} the {theirs} of the frozen baseline "
        f"(95 %: {_signed(low)} to {_signed(high)}).",
    }


def _apart(value: float) -> str:
    return f"{abs(value):.2f} sd {'above' if value >= 0 else 'below'}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _arms(metrics: dict[str, float]) -> list[dict[str, Any]]:
    arms = []
    for name, label, prefix in (("learning", "Learning", "reward"), ("baseline", "Frozen baseline", "baseline")):
        arms.append(
            {
                "name": name,
                "label": label,
                "posts": int(metrics.get(f"{name}_posts", 0)),
                "mean": metrics.get(f"{prefix}_mean"),
                "low": metrics.get(f"{prefix}_low"),
                "high": metrics.get(f"{prefix}_high"),
            }
        )
    return arms


def latest_samples(bot: Bot) -> SampleSet | None:
    """The newest texts drawn during one of the bot's runs."""
    return SampleSet.objects.filter(run__bot=bot).select_related("run").order_by("-at").first()
