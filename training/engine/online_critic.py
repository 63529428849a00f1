"""Rounds of the first Kilroy's actor-critic: published posts train a critic, and the critic the policy.

In `actor_critic` the policy learns from the published posts' advantages; in `bespo` (the original's default) from the
critic's judgement of fresh samples that nobody published. The critic lies beside the weights in the model's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from training.engine import rounds
from training.engine.algorithms import Algorithm, critic
from training.engine.algorithms.critic import Critic, States
from training.engine.algorithms.espo import RATIO_CHANGE
from training.engine.online_plain import NOTHING_NEW, PlainRound, begin, finish
from training.engine.online_published import newest, window_scaled
from training.engine.policy import PolicyTrainer, document_of, policy_batch
from training.engine.round_types import RoundInput, RoundOutput
from training.engine.types import Metrics, OnStep, Sample

REMEMBERED_POSTS = 100
BOOTSTRAP_ROUNDS, BOOTSTRAP_SAMPLES = 10, 32


def critic_round(given: RoundInput, algorithm: Algorithm, on_step: OnStep) -> RoundOutput:
    """A round of an actor-critic; proposals are plain samples."""
    now = begin(given, algorithm, on_step)
    judge = None
    if now.may_learn_from_scores():
        judge = _learn(now)
    output = finish(now)
    if judge is not None and output.model is not None:
        judge.save(output.model)
    return output


def _learn(now: PlainRound) -> Critic | None:
    scaled = window_scaled(now)
    keys = [post.key for post, _ in newest(now)]
    if not keys:
        now.decisions.append(NOTHING_NEW)
        return None
    used = set(now.state.trained)
    texts = {post.key: post.text for post in now.given.scored}
    remembered = [key for key in scaled if key in used][-REMEMBERED_POSTS:]
    samples = now.samples([texts[key] for key in [*remembered, *keys]])
    rewards = torch.tensor([scaled[key] for key in [*remembered, *keys]], device=now.policy.device)
    known = _read(now, samples)
    judge = Critic.load(now.given.policy, known.states.shape[-1])
    now.metrics["value_loss"] = judge.fit(known, rewards)
    trainer = now.trainer(clip_norm=None)
    if now.given.config.algorithm == "bespo":
        done = _bootstrap(now, trainer, judge)
    else:
        fresh = samples[len(remembered) :]
        own = rewards[len(remembered) :]
        done = _optimise(now, trainer, fresh, judge.estimates(_read(now, fresh), own))
    if done:
        now.use([post.key for post, _ in now.fresh()])
    return judge


def _bootstrap(now: PlainRound, trainer: PolicyTrainer, judge: Critic) -> bool:
    """Rounds of fresh samples, each token worth what it adds to the critic's value of a blank page."""
    for number in range(BOOTSTRAP_ROUNDS):
        params = rounds.sampling(now.given.config, rounds.seed_for(now.given, f"bootstrap {number}"))
        samples = [sample for sample in rounds.draw(now.policy, BOOTSTRAP_SAMPLES, params) if sample.token_ids]
        if samples and not _optimise(now, trainer, samples, judge.improvements(_read(now, samples))):
            return False
    return True


def _optimise(now: PlainRound, trainer: PolicyTrainer, samples: Sequence[Sample], advantages: torch.Tensor) -> bool:
    """Steps on one batch until the policy has moved enough."""
    batch = policy_batch(now.policy, now.bench.reference, samples, [0.0] * len(samples))
    batch = replace(batch, advantages=advantages)
    return now.book(trainer, trainer.steps_on(batch, now.regularised(), now.algorithm.steps, enough=_moved_enough))


def _moved_enough(metrics: Metrics) -> bool:
    return metrics["ratio_change"] > RATIO_CHANGE


def _read(now: PlainRound, samples: Sequence[Sample]) -> States:
    return critic.read(now.bench.reference, [document_of(now.policy, sample) for sample in samples])
