"""A reward model for large histories: the Bayesian line, plus small networks for what the line leaves over.

The newest fifth of the rows decides how long the networks learn. Where they do not help there, they learn for no step
at all, and what is left is the Bayesian line: with few scores the two reward models are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from training.engine import reward_model
from training.engine.critics.heads import Heads, Shape, best_steps, squared, train
from training.engine.reward_model import FloatArray, Posterior, Prior

FEWEST = 200
_JUDGED = 0.2
_SHAPE = Shape()
_SEED = 0
_LEAST_NOISE = 1e-6


@dataclass(frozen=True)
class NeuralPosterior:
    """`line` plus the mean of the `heads`; they disagree where scores are few. `noise` is a single score's variance."""

    line: Posterior
    heads: Heads
    noise: float

    def predict(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (n,) of the expected score."""
        mean, sd = self.line.predict(features)
        found = self.heads.outputs(features)[:, :, 0]
        return mean + found.mean(axis=0), np.sqrt(sd**2 + found.var(axis=0))

    def thompson(self, features: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
        """(count, n): each draw is a line and one of the networks."""
        found = self.heads.outputs(features)[:, :, 0]
        return self.line.thompson(features, count, rng) + found[rng.integers(len(found), size=count)]


def fit(columns: FloatArray, rewards: FloatArray, prior: Prior, spread: FloatArray | None = None) -> NeuralPosterior:
    """The line on everything; the networks on its residuals, for as many steps as helped on the newest fifth. `spread`
    (n,) is how many times the common noise variance each reward has: both weigh their rows by its inverse.
    """
    spread = np.ones(len(rewards)) if spread is None else spread
    line = reward_model.fit(columns, rewards, prior, spread)
    steps, noise = _judge(columns, rewards, prior, spread) if len(rewards) >= FEWEST else (0, line.noise)
    return NeuralPosterior(line, _heads(line, columns, rewards, spread, steps), noise if steps else line.noise)


def _judge(columns: FloatArray, rewards: FloatArray, prior: Prior, spread: FloatArray) -> tuple[int, float]:
    """How many steps to learn, and the noise of a reward of spread 1 that is left after them."""
    older = len(rewards) - round(_JUDGED * len(rewards))
    line = reward_model.fit(columns[:older], rewards[:older], prior, spread[:older])
    left = _left(line, columns, rewards, spread)
    steps = best_steps((columns[:older], left[:older]), (columns[older:], left[older:]), squared, _SHAPE, _SEED)
    heads = _heads(line, columns[:older], rewards[:older], spread[:older], steps)
    mean, sd = NeuralPosterior(line, heads, 0.0).predict(columns[older:])
    noise = np.mean(((rewards[older:] - mean) ** 2 - sd**2) / spread[older:])
    return steps, max(_LEAST_NOISE, float(noise))


def _heads(line: Posterior, columns: FloatArray, rewards: FloatArray, spread: FloatArray, steps: int) -> Heads:
    return train((columns, _left(line, columns, rewards, spread)), squared, _SHAPE, _SEED, steps)


def _left(line: Posterior, columns: FloatArray, rewards: FloatArray, spread: FloatArray) -> torch.Tensor:
    """What the line leaves over, with each row's spread (n, 2): the networks' targets."""
    return torch.tensor(np.stack([rewards - line.predict(columns)[0], spread], axis=1), dtype=torch.float32)
