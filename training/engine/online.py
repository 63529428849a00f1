"""One round of online training: learn from the scores that are in, then propose the next posts.

`run_round` is deterministic given its input. Everything between rounds lives in `RoundOutput.state` and in model
folders.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from training.engine import algorithms, online_watch
from training.engine.algorithms import Algorithm, Source
from training.engine.online_critic import critic_round
from training.engine.online_decisions import decisions_round
from training.engine.online_published import published_round
from training.engine.online_reward_model import reward_model_round
from training.engine.toxicity import judged
from training.engine.types import OnStep, RoundInput, RoundOutput


def run_round(round: RoundInput, on_step: OnStep) -> RoundOutput:
    """The round that `round.config.algorithm` asks for.

    Raises ValueError for an unknown algorithm, ModelUnavailable or CorruptWeights when a model folder cannot be used.
    """
    algorithm = algorithms.get(round.config.algorithm)
    # An unknown score is missing, never 0.
    round = replace(round, scored=tuple(post for post in round.scored if math.isfinite(post.reward)))
    readings = online_watch.watch(round)
    output = PLAYED[algorithm.learns_from](online_watch.held(round, readings), algorithm, on_step)
    return judged(online_watch.reported(round, readings, output), round.config.toxicity_model)


def _best_of_n(round: RoundInput, algorithm: Algorithm, on_step: OnStep) -> RoundOutput:
    """The default round with its policy left alone."""
    return reward_model_round(replace(round, config=replace(round.config, policy_steps=0)), algorithm, on_step)


PLAYED: dict[Source, Callable[[RoundInput, Algorithm, OnStep], RoundOutput]] = {
    "unpublished": reward_model_round,
    "published": published_round,
    "critic": critic_round,
    "decisions": decisions_round,
    "nothing": _best_of_n,
}
"""The rounds themselves, without the watch that `run_round` keeps over them."""
