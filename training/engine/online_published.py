"""The plain round: steps on the posts that were published since the last one, with their own rewards, then plain
samples.
"""

from __future__ import annotations

from dataclasses import replace

from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams
from training.engine.kl import KLController, kl_target
from training.engine.online_plain import NOTHING_NEW, PlainRound, begin, finish
from training.engine.policy import CLIP_NORM, policy_batch
from training.engine.round_types import RoundInput, RoundOutput, ScoredPost
from training.engine.scores import window_scale
from training.engine.types import OnStep, Sample

MOST_POSTS = 128
"""Posts that one round learns from; a round seldom brings as many. More wait where learning begins, or goes on after a
break, on a bot that has long published: the older ones were written by policies that are gone, and all are computed at
once, each with its logits over the whole vocabulary.
"""


def published_round(given: RoundInput, algorithm: Algorithm, on_step: OnStep) -> RoundOutput:
    """A round of an algorithm that learns from published posts: no reward model, no choice among candidates."""
    now = begin(given, algorithm, on_step)
    if now.may_learn_from_scores():
        learn = _learn_as_the_original if algorithm.recipe == "original" else _learn_carefully
        learn(now)
    return finish(now)


def window_scaled(now: PlainRound) -> dict[str, float]:
    """The learning arm's rewards on the original's scale, by the post's key."""
    own = sorted((post for post in now.given.scored if post.arm == "learning"), key=lambda post: post.published_order)
    scaled = window_scale([post.reward for post in own])
    return {post.key: float(value) for post, value in zip(own, scaled, strict=True)}


def newest(now: PlainRound) -> list[tuple[ScoredPost, float]]:
    """The new posts that the round learns from, with their rewards; the older ones are passed over."""
    fresh = now.fresh()
    if len(fresh) > MOST_POSTS:
        now.decisions.append(
            f"Of {len(fresh)} new scores the newest {MOST_POSTS} are learned from, the older ones are passed over."
        )
    return fresh[-MOST_POSTS:]


def _learn_as_the_original(now: PlainRound) -> None:
    """One step on the new posts, their raw scores scaled by the window of everything scored so far."""
    scaled = window_scaled(now)
    samples, rewards = _batch(now, {post.key: scaled[post.key] for post, _ in newest(now)})
    if not samples:
        now.decisions.append(NOTHING_NEW)
        return
    trainer = now.trainer(clip_norm=None)
    if now.book(trainer, [trainer.step(samples, rewards, now.regularised())]):
        now.use([post.key for post, _ in now.fresh()])


def _learn_carefully(now: PlainRound) -> None:
    """Several clipped steps on the new posts, with a price on KL that follows its target, and a hard stop."""
    samples, rewards = _batch(now, {post.key: reward for post, reward in newest(now)})
    if not samples:
        now.decisions.append(NOTHING_NEW)
        return
    config = now.given.config
    target = kl_target(config.kl_target, len(now.rewards))
    controller = KLController(now.state.beta)
    trainer = now.trainer(clip_norm=CLIP_NORM)
    params = LossParams(beta=controller.beta, advantage_clip=config.advantage_clip)
    batch = policy_batch(now.policy, now.bench.reference, samples, rewards)
    steps = trainer.steps_on(batch, params, now.algorithm.steps, kl_target=target)
    if now.book(trainer, steps, target):
        now.use([post.key for post, _ in now.fresh()])
    if steps[-1].outcome != "not_finite":
        now.state = replace(now.state, beta=controller.update(steps[-1].metrics["kl"], target).beta)


def _batch(now: PlainRound, rewards: dict[str, float]) -> tuple[list[Sample], list[float]]:
    """The new posts that hold a token, and their rewards."""
    texts = {post.key: post.text for post in now.given.scored if post.key in rewards}
    samples = now.samples([texts[key] for key in rewards])
    kept = [(sample, value) for sample, value in zip(samples, rewards.values(), strict=True) if sample.token_ids]
    return [sample for sample, _ in kept], [value for _, value in kept]
