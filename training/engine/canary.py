"""The trial of a new version, in figures: its posts' rewards against those of the version it is tried against."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from training.engine.features import FloatArray
from training.engine.intervals import lift_sequence
from training.engine.round_types import ScoredPost


def trial_report(scored: Sequence[ScoredPost], rewards: FloatArray) -> dict[str, Any] | None:
    """How many posts of either side have a reward, and the `difference` of the version on trial in standard units once
    both have some: from eight a side on, where they are not all alike, with an anytime-valid 95 % interval `low` to
    `high`. None when no trial is under way.

    `rewards` are the scored posts' in standard units.
    """
    sides: dict[str, list[float]] = {"policy": [], "stable": []}
    for post, reward in zip(scored, rewards, strict=True):
        if post.speaker:
            sides[post.speaker].append(float(reward))
    if not (sides["policy"] or sides["stable"]):
        return None
    report: dict[str, Any] = {"posts": len(sides["policy"]), "stable_posts": len(sides["stable"])}
    if sides["policy"] and sides["stable"]:
        report["difference"] = fmean(sides["policy"]) - fmean(sides["stable"])
    # The side with fewer posts stands second, where the sequence is narrowest early.
    if interval := lift_sequence(sides["stable"], sides["policy"]):
        report |= {"low": -interval.high, "high": -interval.low}
    return report
