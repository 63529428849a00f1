"""The seam for learning algorithms: one dict, name → label and dotted path, imported on first use (this module loads no
torch).

Contract: a function of `(PolicyBatch, LossParams)` that returns `(loss, metrics)`: a scalar tensor with a gradient, and
plain numbers by standard name. Adding one touches this dict, its label in `round_types.ALGORITHM_LABELS` and one file;
one of another package is an `Algorithm` named by its entry point of the group `kilroy.algorithms` (docs/extending.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, cast

from training.engine import plugins
from training.engine.round_types import ALGORITHM_LABELS

if TYPE_CHECKING:
    from training.engine.algorithms.batch import LossFunction

Source = Literal["unpublished", "published", "critic", "decisions", "nothing"]


ORIGINAL_LEARNING_RATE = 1e-5
"""The first Kilroy's, made for a model of 124 M parameters."""


@dataclass(frozen=True)
class Algorithm:
    """`path`: `module:function` of the loss. `learns_from`: "unpublished" samples valued by the reward model;
    "published" posts with their own rewards; the same through a "critic"; people's "decisions"; or "nothing", where the
    policy stays as it is. `steps`: at most, on each batch. `recipe`: the "original" one scales scores by a window,
    clips no gradient, and has regularisers in place of a limit of KL.
    """

    label: str
    path: str
    learns_from: Source
    steps: int = 1
    recipe: Literal["ours", "original"] = "ours"

    def learning_rate(self, usual: float) -> float:
        """The run's `usual` one, or the original's."""
        return ORIGINAL_LEARNING_RATE if self.recipe == "original" else usual

    def loss(self) -> LossFunction:
        """The loss function, imported now. Raises ValueError for an algorithm that learns nothing."""
        if not self.path:
            raise ValueError(f"“{self.label}” has no loss: its policy stays as it is.")
        module, _, name = self.path.partition(":")
        return cast("LossFunction", getattr(import_module(module), name))


def _labelled(
    name: str, path: str, learns_from: Source, steps: int = 1, recipe: Literal["ours", "original"] = "ours"
) -> Algorithm:
    return Algorithm(ALGORITHM_LABELS[name], path and f"{__name__}.{path}", learns_from, steps, recipe)


ALGORITHMS: dict[str, Algorithm] = {
    "reward_model_rloo": _labelled("reward_model_rloo", "rloo:loss", "unpublished"),
    "grpo": _labelled("grpo", "grpo:loss", "unpublished"),
    "best_of_n": _labelled("best_of_n", "", "nothing"),
    "ppo": _labelled("ppo", "ppo:loss", "published", 4),
    "reinforce": _labelled("reinforce", "reinforce:loss", "published", 1, "original"),
    "actor_critic": _labelled("actor_critic", "espo:loss", "critic", 25, "original"),
    "bespo": _labelled("bespo", "espo:loss", "critic", 25, "original"),
    "dpo": _labelled("dpo", "dpo:loss", "decisions", 4),
    "kto": _labelled("kto", "kto:loss", "decisions", 4),
}


def get(name: str) -> Algorithm:
    """The algorithm called `name`. Raises ValueError that lists the known ones, or says what is wrong with a package's
    one.
    """
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    for entry in plugins.entries("kilroy.algorithms"):
        if entry.name == name:
            return cast("Algorithm", plugins.load(entry, Algorithm))
    raise ValueError(f"Unknown algorithm {name!r}. Choose one of: {', '.join(sorted(ALGORITHM_LABELS))}.")
