"""A dataset in numbers, from its first 20,000 posts: enough to see what it is, and never slow."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.db.models.functions import Length

from training.models import Dataset, Example

MEASURED = 20_000
MOST_MONTHS = 36
LENGTHS = (0, 20, 40, 60, 80, 100, 140, 200, 280, 500, 1000)
BINS = 12
HEAVY_TAIL = 64
"""From here on, counts are told in classes that double."""
TOP = 8


@dataclass(frozen=True)
class Bar:
    """Of a histogram."""

    label: str
    count: int


def statistics_of(dataset: Dataset) -> dict[str, Any]:
    """The dataset's first posts in numbers. Measured once a process for as long as no post comes or goes."""
    return _measured(dataset.organization_id, dataset.pk, dataset.example_count, dataset.may_learn)


@lru_cache(maxsize=256)
def _measured(organization_id: UUID, dataset_id: UUID, examples: int, may_learn: bool) -> dict[str, Any]:
    first = Example.objects.filter(dataset=dataset_id).order_by("position").annotate(length=Length("text"))
    columns = ("length", "score", "author", "community", "topic", "context", "posted_at", "may_learn")
    rows = list(first.values_list(*columns)[:MEASURED])
    lengths, scores, authors, communities, topics, contexts, times, allowed = (
        zip(*rows, strict=True) if rows else [()] * len(columns)
    )
    known = [score for score in scores if score is not None]
    dated = sorted(at for at in times if at is not None)
    by_author, by_community = (Counter(filter(None, names)) for names in (authors, communities))
    return {
        "count": examples,
        "measured": len(rows),
        "scored": len(known),
        "mean": statistics.fmean(known) if known else None,
        "median_score": statistics.median(known) if known else None,
        "first_at": dated[0] if dated else None,
        "last_at": dated[-1] if dated else None,
        "authors": len(by_author),
        "communities": len(by_community),
        "topics": len(set(filter(None, topics))),
        "answers": sum(map(bool, contexts)),
        "median_length": statistics.median(lengths) if lengths else None,
        "learnable": sum(allowed) if may_learn else 0,
        "over_time": over_time(dated),
        "lengths": histogram(lengths, LENGTHS),
        "scores": score_bars(known),
        "top_authors": [Bar(*each) for each in by_author.most_common(TOP)],
        "top_communities": [Bar(*each) for each in by_community.most_common(TOP)],
    }


def over_time(times: Sequence[datetime]) -> list[Bar]:
    """Posts of each month, or of each year where there are more than three years of them; `times` rise."""
    if not times:
        return []
    first, last = (at.year * 12 + at.month - 1 for at in (times[0], times[-1]))
    if last - first < MOST_MONTHS:
        counts = Counter(at.year * 12 + at.month - 1 for at in times)
        return [Bar(f"{month // 12}-{month % 12 + 1:02}", counts[month]) for month in range(first, last + 1)]
    years = Counter(at.year for at in times)
    return [Bar(str(year), years[year]) for year in range(times[0].year, times[-1].year + 1)]


def histogram(values: Iterable[float], edges: Sequence[float]) -> list[Bar]:
    """How many values lie from each edge up to the next, the last edge being open upwards; empty ends are left out."""
    counts = [0] * len(edges)
    for value in values:
        counts[max((place for place, edge in enumerate(edges) if value >= edge), default=0)] += 1
    labels = [f"{_short(low)} to {_short(high)}" for low, high in pairwise(edges)]
    labels.append(f"{_short(edges[-1])} and more")
    filled = [place for place, count in enumerate(counts) if count]
    if not filled:
        return []
    return [Bar(labels[place], counts[place]) for place in range(filled[0], filled[-1] + 1)]


def score_bars(scores: Sequence[float]) -> list[Bar]:
    """Scores in classes: doubling ones for counts with a heavy tail, equal ones otherwise."""
    if not scores:
        return []
    low, high = min(scores), max(scores)
    if low == high:
        return [Bar(_short(low), len(scores))]
    if low >= 0 and high >= HEAVY_TAIL:
        return histogram(scores, [0.0, *(2.0**power for power in range(math.ceil(math.log2(high + 1))))])
    return histogram(scores, [low + (high - low) * place / BINS for place in range(BINS)])


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"
