"""What a benchmark answers, and how it is judged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measurement:
    """`ours` and `peer` in the same unit, measured in one run.

    With a peer the goal is about their ratio, `ours / peer`, because machines differ and ratios travel; without one it
    is about `ours`. `broken` names further limits that were not kept: with one of them the goal is not met.
    """

    ours: float
    goal: float
    better: Literal["lower", "higher"]
    peer: float | None = None
    broken: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """`ours / peer`, where there is a peer."""
        return None if self.peer is None else self.ours / self.peer

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        value = self.ours if self.ratio is None else self.ratio
        if self.broken:
            return False
        return value <= self.goal if self.better == "lower" else value >= self.goal

    def line(self, name: str) -> str:
        """The JSON line that ends a benchmark."""
        rounded = {
            "ours": round(self.ours, 4),
            "peer": None if self.peer is None else round(self.peer, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
        }
        return json.dumps({"name": name, **rounded, "goal": self.goal, "met": self.met})
