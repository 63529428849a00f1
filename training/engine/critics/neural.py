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
    weighs the line's rows alone.
    """
    line = reward_model.fit(columns, rewards, prior, spread)
    steps, noise = _judge(columns, rewards, prior) if len(rewards) >= FEWEST else (0, line.noise)
    return NeuralPosterior(line, _heads(line, columns, rewards, steps), noise if steps else line.noise)


def _judge(columns: FloatArray, rewards: FloatArray, prior: Prior) -> tuple[int, float]:
    """How many steps to learn, and the noise that is left after them."""
    older = len(rewards) - round(_JUDGED * len(rewards))
    line = reward_model.fit(columns[:older], rewards[:older], prior)
    mean, _ = line.predict(columns)
    left = torch.tensor(rewards - mean, dtype=torch.float32)
    steps = best_steps((columns[:older], left[:older]), (columns[older:], left[older:]), squared, _SHAPE, _SEED)
    judged = NeuralPosterior(line, _heads(line, columns[:older], rewards[:older], steps), 0.0)
    mean, sd = judged.predict(columns[older:])
    return steps, max(_LEAST_NOISE, float(np.mean((rewards[older:] - mean) ** 2 - sd**2)))


def _heads(line: Posterior, columns: FloatArray, rewards: FloatArray, steps: int) -> Heads:
    left = torch.tensor(rewards - line.predict(columns)[0], dtype=torch.float32)
    return train((columns, left), squared, _SHAPE, _SEED, steps)
