"""When to go back: windows of the learning arm's posts, less the baseline arm's posts of the same time.

The baseline arm is written by the model that never learns, so what the difference loses is the policy's own doing and
not the audience's mood. A window's difference is noisy: with 64 posts and their few baseline posts, a fall of less than
about one standard unit cannot be seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.engine.features import FloatArray
from training.engine.round_types import ScoredPost

WINDOW = 64
MIN_BASELINE = 4
STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Window:
    """A run of learning-arm posts: their keys, and their mean less the baseline arm's (standard units) with its
    standard error.
    """

    keys: tuple[str, ...]
    lead: float
    error: float

    def fell_below(self, best: Window) -> bool:
        """Whether this window's lead is more than two standard errors of the difference below the other's."""
        return best.lead - self.lead > STANDARD_ERRORS * math.hypot(best.error, self.error)


def windows(scored: Sequence[ScoredPost], rewards: FloatArray) -> list[Window]:
    """The whole windows of `WINDOW` learning-arm posts, one after the other in the order of publication.

    A window's baseline are the baseline arm's posts published in it. One with fewer than `MIN_BASELINE` of them has
    nothing to be held against and is left out.
    """
    order = sorted(range(len(scored)), key=lambda place: scored[place].published_order)
    found: list[Window] = []
    arms: dict[str, list[int]] = {"learning": [], "baseline": []}
    for place in order:
        arms[scored[place].arm].append(place)
        if len(arms["learning"]) == WINDOW:
            own, base = rewards[arms["learning"]], rewards[arms["baseline"]]
            if len(base) >= MIN_BASELINE:
                error = math.sqrt(own.var(ddof=1) / len(own) + base.var(ddof=1) / len(base))
                keys = tuple(scored[each].key for each in arms["learning"])
                found.append(Window(keys, float(own.mean() - base.mean()), error))
            arms = {"learning": [], "baseline": []}
    return found


def rollback(scored: Sequence[ScoredPost], rewards: FloatArray, judged: int) -> dict[str, Any] | None:
    """What to say when both of the last two windows fell below the best one before them; None while all is well.

    `judged` is how many windows an earlier call has already gone back on: both must be newer. The answer has `reason`,
    a sentence; `best_posts`, the keys of the best window's posts, whose version is the one to go back to; and `judged`
    for the next call.
    """
    seen = windows(scored, rewards)
    if len(seen) < max(3, judged + 2):
        return None
    best = max(seen[:-2], key=lambda window: window.lead)
    if not all(window.fell_below(best) for window in seen[-2:]):
        return None
    lead, error = float(np.mean([window.lead for window in seen[-2:]])), math.hypot(best.error, seen[-1].error)
    reason = (
        f"The bot's last {2 * WINDOW} scored posts led the untrained model's by {lead:+.2f} standard deviations, its "
        f"best {WINDOW} by {best.lead:+.2f}; that is more than chance explains (standard error {error:.2f}). "
        "Going back to the version that wrote the best ones."
    )
    return {"reason": reason, "best_posts": list(best.keys), "judged": len(seen)}
