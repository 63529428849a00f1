"""The seam for learning algorithms: one dict, name → label and dotted path, imported on first use (this module loads no
torch).

Contract: a function of `(PolicyBatch, LossParams)` that returns `(loss, metrics)`: a scalar tensor with a gradient, and
plain numbers by standard name. Adding one touches this dict and one file.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from training.engine.algorithms.batch import LossFunction


@dataclass(frozen=True)
class Algorithm:
    """`learns_from`: "unpublished" samples valued by the reward model, or "published" posts with their own rewards."""

    label: str
    path: str
    learns_from: Literal["unpublished", "published"]

    def loss(self) -> LossFunction:
        """The loss function, imported now."""
        module, _, name = self.path.partition(":")
        return cast("LossFunction", getattr(import_module(module), name))


ALGORITHMS: dict[str, Algorithm] = {
    "reward_model_rloo": Algorithm(
        "Reward model and leave-one-out policy gradient", "training.engine.algorithms.rloo:loss", "unpublished"
    ),
    "reinforce": Algorithm(
        "Plain REINFORCE, as the first Kilroy", "training.engine.algorithms.reinforce:loss", "published"
    ),
}


def get(name: str) -> Algorithm:
    """The algorithm called `name`. Raises ValueError that lists the known ones."""
    try:
        return ALGORITHMS[name]
    except KeyError:
        raise ValueError(f"Unknown algorithm {name!r}. Choose one of: {', '.join(sorted(ALGORITHMS))}.") from None
