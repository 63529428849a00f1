"""Reads that more than one caller shares."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from django.db.models import Avg, Count, Max, Min

from bots.models import Bot
from training.models import Dataset, Example, Metric, Round, Run, SampleSet

MOST_POINTS = 2000


def series_of(run: Run) -> dict[str, list[list[float]]]:
    """Each metric of a run as [[step, value], …], rising by step, thinned to at most 2,000 points by keeping every
    n-th and the last.
    """
    series: dict[str, list[list[float]]] = defaultdict(list)
    for name, step, value in (
        Metric.objects.filter(run=run).order_by("name", "step").values_list("name", "step", "value")
    ):
        series[name].append([step, value])
    return {name: _thinned(points) for name, points in series.items()}


def _thinned(points: list[list[float]]) -> list[list[float]]:
    stride = -(-len(points) // MOST_POINTS)
    if stride <= 1:
        return points
    kept = points[::stride]
    return kept if kept[-1] == points[-1] else [*kept[: MOST_POINTS - 1], points[-1]]


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
    facts["communities"] = rows.exclude(community="").values("community").distinct().count()
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
    metrics = last.metrics
    answer = {"arms": _arms(metrics), "decisions": last.decisions, **_sentence(metrics)}
    posts = int(metrics.get("learning_posts", 0) + metrics.get("baseline_posts", 0))
    answer["detail"] = (
        f"After round {last.number} and {posts} scored posts. One unit is one standard deviation of all rewards "
        "of this bot. The interval holds however often you look."
    )
    return answer


def _sentence(metrics: dict[str, float]) -> dict[str, str]:
    value, low, high = (metrics.get(name) for name in ("lift", "lift_low", "lift_high"))
    if value is None or low is None or high is None:
        return {"tone": "waiting", "sentence": "Is it getting better? Not yet known: both arms need more scored posts."}
    span = f"by {value:+.2f} sd (95 %: {low:+.2f} to {high:+.2f})"
    if low > 0:
        return {"tone": "better", "sentence": f"Yes: its posts do better than those of the frozen baseline, {span}."}
    if high < 0:
        return {"tone": "worse", "sentence": f"No: its posts do worse than those of the frozen baseline, {span}."}
    lean = "ahead" if value > 0 else "behind"
    return {"tone": "unknown", "sentence": f"Not yet known: its posts are {lean} of the frozen baseline {span}."}


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
