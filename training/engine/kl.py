"""Keeping the policy near the fine-tuned reference: an adaptive price on divergence, and a hard stop."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class KLController:
    """The price `beta` per nat of KL(policy ‖ reference) per post, adapted towards a target (Ziegler et al. 2019,
    section 2.2).

    β ← β · exp(rate · error), error = KL/target − 1 clipped to ±1.
    """

    beta: float = 0.02
    rate: float = 0.15
    lowest: float = 0.01
    highest: float = 10.0

    def update(self, kl: float, target: float) -> KLController:
        """The controller after a step that measured `kl` nats per post."""
        error = max(-1.0, min(1.0, kl / target - 1.0))
        return replace(self, beta=max(self.lowest, min(self.highest, self.beta * math.exp(self.rate * error))))


def kl_target(full: float, scored_posts: int, factor: float = 1.0) -> float:
    """Nats per post the policy may spend after `scored_posts`: full · min(1, (N + 32)/256) · factor.

    Little evidence earns little distance; `factor` < 1 is the diversity floor at work.
    """
    return full * min(1.0, (scored_posts + 32) / 256) * factor


def must_stop(kl: float, target: float) -> bool:
    """True when the policy is further away than twice the target (or the estimate is not a number)."""
    return not kl <= 2.0 * target


def pull_back(kl: float, target: float) -> float:
    """The share of the way from reference to policy that brings KL back to `target`.

    KL is quadratic in the distance of the weights near the reference, hence the square root.
    """
    return math.sqrt(target / kl) if kl > target else 1.0
