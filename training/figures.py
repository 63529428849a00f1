"""Two versions side by side: what was measured, with the difference, and what they wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db.models import Q

from training import reports
from training.models import ModelVersion, Round, SampleSet

FIRST = ("heldout_loss", "lift", "lift_low", "lift_high", "reward_mean", "kl", "distinct_2", "memorised_rate")
LOWER = frozenset(
    {
        "heldout_loss", "heldout_author_loss", "perplexity", "memorised_rate", "longest_shared_run",
        "longest_shared_words", "duplicate_rate", "self_bleu",
    }
)  # fmt: skip
HIGHER = frozenset({"lift", "lift_low", "reward_mean", "reward_recent", "distinct_2", "reward_model_correlation"})
"""Metrics of which more, or less, is better; of the others neither is."""


@dataclass(frozen=True)
class Figure:
    """One metric of one or two versions; a number that is not known is None."""

    name: str
    first: float | None
    second: float | None = None

    @property
    def label(self) -> str:
        return reports.titled(self.name)

    @property
    def difference(self) -> float | None:
        """The second less the first."""
        return None if self.first is None or self.second is None else self.second - self.first

    @property
    def verdict(self) -> str:
        """ "better" or "worse" of the second, where one direction is; "" where there is nothing to say."""
        change = self.difference
        if not change or self.name not in LOWER | HIGHER:
            return ""
        return "better" if (change > 0) == (self.name in HIGHER) else "worse"


def figures(first: ModelVersion, second: ModelVersion | None = None) -> list[Figure]:
    """Every metric that one of the versions has: the telling ones first, then by name."""
    others = second.metrics if second else {}
    found = [Figure(name, _number(first.metrics, name), _number(others, name)) for name in {**first.metrics, **others}]
    known = [each for each in found if each.first is not None or each.second is not None]
    return sorted(known, key=lambda each: (FIRST.index(each.name) if each.name in FIRST else len(FIRST), each.label))


def _number(metrics: Mapping[str, Any], name: str) -> float | None:
    value = metrics.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def samples_of(versions: Sequence[ModelVersion]) -> dict[UUID, SampleSet]:
    """What each version wrote when it was made: the samples of its round, or the last ones of its fine-tuning."""
    played = Round.objects.filter(version__in=versions).values_list("version_id", "run_id", "number")
    places = {version: (run, number) for version, run, number in played}
    found = {}
    if places:
        wanted = [Q(run=run, step=number) for run, number in places.values()]
        sets = {(each.run_id, each.step): each for each in SampleSet.objects.filter(reduce(or_, wanted))}
        found = {version: sets[place] for version, place in places.items() if place in sets}
    runs = {version.pk: version.run_id for version in versions if version.run_id and version.pk not in places}
    if runs:
        newest = SampleSet.objects.filter(run__in=runs.values()).order_by("run_id", "-step").distinct("run_id")
        last = {each.run_id: each for each in newest}
        found |= {version: last[run] for version, run in runs.items() if run in last}
    return found
