"""How large a campaign is, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

FULL = 2000
LEAST_FIRINGS = 30
"""Of every named fault point, at full size."""


@dataclass(frozen=True)
class Size:
    """`factor` divides the protocol's waits. `rate`: posts approved per second. `workers`: of four processes each.
    `chance`: how often a request that publishes meets a fault. `seed`: of the dice that can be seeded.
    """

    posts: int
    factor: float
    rate: float
    workers: int
    chance: float = 0.55
    seed: int = 1

    @classmethod
    def of(cls, posts: int, *, factor: float | None = None, seed: int = 1) -> Size:
        if posts >= FULL:
            return cls(posts, factor or 10.0, rate=6.0, workers=3, seed=seed)
        return cls(posts, factor or 20.0, rate=10.0, workers=2, seed=seed)

    @property
    def is_full(self) -> bool:
        return self.posts >= FULL

    def times(self, per_thousand: float) -> int:
        """How often something happens that happens so often in a campaign of a thousand posts; at least once."""
        return max(1, round(per_thousand * self.posts / 1000))
