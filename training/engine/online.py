"""One round of online training: learn from the scores that are in, then propose the next posts.

`run_round` is deterministic given its input. Everything between rounds lives in `RoundOutput.state` and in model
folders.
"""

from __future__ import annotations

import math
from dataclasses import replace

from training.engine import algorithms
from training.engine.online_published import published_round
from training.engine.online_reward_model import reward_model_round
from training.engine.types import OnStep, RoundInput, RoundOutput


def run_round(round: RoundInput, on_step: OnStep) -> RoundOutput:
    """The round that `round.config.algorithm` asks for.

    Raises ValueError for an unknown algorithm, ModelUnavailable or CorruptWeights when a model folder cannot be used.
    """
    algorithm = algorithms.get(round.config.algorithm)
    # An unknown score is missing, never 0.
    round = replace(round, scored=tuple(post for post in round.scored if math.isfinite(post.reward)))
    if algorithm.learns_from == "published":
        return published_round(round, algorithm, on_step)
    return reward_model_round(round, algorithm, on_step)
