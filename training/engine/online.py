"""One round of online training: learn from the scores that are in, then propose the next posts.

`run_round` is deterministic given its input. Everything between rounds lives in `RoundOutput.state` and in model
folders.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from training.engine import algorithms, online_watch
from training.engine.algorithms import Algorithm, Source
from training.engine.online_critic import critic_round
from training.engine.online_decisions import decisions_round
from training.engine.online_published import published_round
from training.engine.online_reward_model import reward_model_round
from training.engine.round_types import RoundInput, RoundOutput
from training.engine.toxicity import judged
from training.engine.types import OnStep

OF_WEIGHTS = ("beta", "trained")
"""What of a round's memory belongs to the weights: the price of their distance, and what they have learned from."""


def run_round(round: RoundInput, on_step: OnStep) -> RoundOutput:
    """The round that `round.config.algorithm` asks for.

    Raises ValueError for an unknown algorithm, ModelUnavailable or CorruptWeights when a model folder cannot be used.
    """
    algorithm = algorithms.get(round.config.algorithm)
    # An unknown score is missing, never 0.
    scored = tuple(post for post in round.scored if math.isfinite(post.reward))
    round = replace(round, scored=scored, state=_resumed(round))
    readings = online_watch.watch(round)
    output = PLAYED[algorithm.learns_from](online_watch.held(round, readings), algorithm, on_step)
    return judged(online_watch.reported(round, readings, output), round.config.toxicity_model)


def _resumed(round: RoundInput) -> dict[str, Any]:
    """The memory that the round goes on from: the last round's, but for what belongs to the weights. That is as the
    round left it that made them, so that what is rolled back with other weights can be learned again.
    """
    if round.learned is None:
        return dict(round.state)
    ours = {name: value for name, value in round.state.items() if name not in OF_WEIGHTS}
    return ours | {name: round.learned[name] for name in OF_WEIGHTS if name in round.learned}


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
