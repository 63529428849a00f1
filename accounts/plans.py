"""Plans: which quotas an organization has. Operators choose a plan, and single quotas that differ from it, in their
panel; there is no payment behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Quota:
    """Something that is limited: per UTC day, or as a whole. `remedy` says what to do once that is used up."""

    name: str
    label: str
    unit: str
    daily: bool
    remedy: str = ""


QUOTAS: dict[str, Quota] = {
    quota.name: quota
    for quota in (
        Quota("bots", "Bots", "", daily=False, remedy="Delete a bot that is no longer needed"),
        Quota("posts_per_day", "Posts per day", "", daily=True),
        Quota("candidates_per_day", "Candidates drawn per day", "", daily=True),
        Quota(
            "stored_bytes",
            "Storage",
            "bytes",
            daily=False,
            remedy="Delete datasets, model versions or exports that are no longer needed",
        ),
        Quota("gpu_seconds_per_day", "GPU seconds per day", "seconds", daily=True),
    )
}


@dataclass(frozen=True)
class Plan:
    """Limits by quota; a quota that is not named is not limited."""

    label: str
    limits: Mapping[str, float] = field(default_factory=dict)


PLANS: dict[str, Plan] = {
    "open": Plan("Open: no quotas"),
    "small": Plan(
        "Small",
        {
            "bots": 3,
            "posts_per_day": 100,
            "candidates_per_day": 20_000,
            "stored_bytes": 10e9,
            "gpu_seconds_per_day": 2 * 3600,
        },
    ),
    "studio": Plan(
        "Studio",
        {
            "bots": 30,
            "posts_per_day": 2_000,
            "candidates_per_day": 500_000,
            "stored_bytes": 200e9,
            "gpu_seconds_per_day": 12 * 3600,
        },
    ),
}
