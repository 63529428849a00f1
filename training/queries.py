"""Reads that more than one caller shares."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from bots.models import Bot
from training.drawings import signed
from training.models import Dataset, Example, Round, Run, RunDataset, SampleSet


def latest_runs(bot: Bot) -> list[Run]:
    """The bot's latest run of each kind: what its overview shows."""
    found = [Run.objects.filter(bot=bot, kind=kind).first() for kind in Run.Kind.values]
    return [run for run in found if run is not None]


MOST_USES = 20
SEARCHED = 10_000
"""How many past posts a search for words looks through: no index helps it, so a bound does."""


def holding(examples: QuerySet[Example], words: str) -> QuerySet[Example]:
    """Those of the first `SEARCHED` examples, in the order that these are in, whose text holds the words."""
    found: QuerySet[Example] = Example.objects.filter(pk__in=examples.values("pk")[:SEARCHED], text__icontains=words)
    return found


def uses_of(dataset: Dataset) -> QuerySet[RunDataset]:
    """The newest trainings that learned from a dataset, each with the versions that it made."""
    uses = RunDataset.objects.filter(dataset=dataset).select_related("run").prefetch_related("run__versions")
    return uses.order_by("-pk")[:MOST_USES]


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
    answer["difference"] = _difference(last.metrics)
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
        equal = int(metrics.get("equal_scores", 0))
        why = (
            f"all {equal} scores are equal, so there is nothing to learn from yet"
            if equal
            else f"too few posts have a score, {ours} of its own and {theirs} of the frozen baseline"
        )
        return {"tone": "waiting", "sentence": f"Is it getting better? Not yet known: {why}."}
    said = f"posts from the learning model score {_apart(value)} the frozen one; 95 % {signed(low)} to {signed(high)}"
    tone, word = ("better", "Yes") if low > 0 else ("worse", "No") if high < 0 else ("unknown", "Not yet known")
    fits = ", so 0 fits, too" if tone == "unknown" else ""
    return {"tone": tone, "sentence": f"{word}: {said}{fits}; {ours} posts against {theirs}."}


def _difference(metrics: dict[str, float]) -> dict[str, float] | None:
    """What the learning arm's mean is above the baseline's, with its 95 % interval; None before it is known."""
    found = {name: metrics.get(key) for name, key in (("mean", "lift"), ("low", "lift_low"), ("high", "lift_high"))}
    known = {name: value for name, value in found.items() if value is not None}
    return known if len(known) == len(found) else None


def _apart(value: float) -> str:
    return f"{abs(value):.2f} sd {'above' if value >= 0 else 'below'}"


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
