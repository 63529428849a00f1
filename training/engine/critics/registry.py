"""The seam for reward models: one dict, name → dotted path, imported on first use (this module loads no torch).

Contract: a function of `(columns, rewards, prior, spread)` that returns a `RewardModel`; `columns` (n, D) and `rewards`
(n,) are in standard units and in order of time, `prior` holds the beliefs about linear weights, and `spread` (n,),
where given, how many times the common noise variance each reward has. Adding one touches this dict, its label in
`REWARD_MODEL_LABELS`, and one file.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

import numpy as np

from training.engine.reward_model import FloatArray, Prior
from training.engine.round_types import REWARD_MODEL_LABELS


class RewardModel(Protocol):
    """What is believed about rewards. `noise` is the variance of a single reward around its expectation."""

    @property
    def noise(self) -> float: ...

    def predict(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (n,) of the expected reward, without the noise of a single one."""
        ...

    def thompson(self, features: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
        """Expected rewards (count, n) under `count` draws of what is believed."""
        ...


Fit = Callable[[FloatArray, FloatArray, Prior, FloatArray | None], RewardModel]

_PATHS = {
    "bayesian_linear": "training.engine.reward_model:fit",
    "neural_ensemble": "training.engine.critics.neural:fit",
}


def fit(
    name: str, columns: FloatArray, rewards: FloatArray, prior: Prior, spread: FloatArray | None = None
) -> RewardModel:
    """The reward model `name`, fitted. A row without a reward is left out; a feature that is not a number counts as 0,
    which is the mean. Raises ValueError that lists the known names.
    """
    if name not in _PATHS:
        raise ValueError(f"Unknown reward model {name!r}. Choose one of: {', '.join(REWARD_MODEL_LABELS)}.")
    module, _, function = _PATHS[name].partition(":")
    fitted = cast("Fit", getattr(import_module(module), function))
    known = np.isfinite(rewards)
    return fitted(finite(columns[known]), rewards[known], prior, None if spread is None else spread[known])


def finite(columns: FloatArray) -> FloatArray:
    """The columns with 0 for what is not a number."""
    return np.nan_to_num(columns, nan=0.0, posinf=0.0, neginf=0.0)
