"""The plain round: one step on the posts that were published since the last one, with their own rewards, then plain
samples.
"""

from __future__ import annotations

from dataclasses import replace

from training.engine import rounds
from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams
from training.engine.models.causal import CausalLanguageModel
from training.engine.policy import PolicyTrainer, published_sample
from training.engine.rounds import Bench, RoundState
from training.engine.scores import normalise_rewards, window_scale
from training.engine.selection import choose_plain
from training.engine.types import Arm, OnStep, Proposal, RoundInput, RoundOutput, Sample

LEARNING_RATE = 1e-5
_SPARE = 4


def published_round(given: RoundInput, algorithm: Algorithm, on_step: OnStep) -> RoundOutput:
    """A round of an algorithm that learns from published posts: no reward model, no choice among candidates."""
    bench = rounds.bench(given)
    policy = CausalLanguageModel.load(str(given.policy))
    state = RoundState.read(given.state, given.config)
    rewards = normalise_rewards([post.reward for post in given.scored], [post.hour_of_week for post in given.scored])
    metrics = rounds.score_metrics(given.scored, rewards)
    trainer = PolicyTrainer(policy, bench.reference, algorithm, _learning_rate(given), clip_norm=None)
    state, decision = _learn(given, trainer, state, metrics, on_step)
    model = None
    if trainer.steps:
        model = given.workdir / "model"
        policy.save(model)
    proposals = _propose(given, bench, policy)
    published = [*given.published_texts, *(proposal.text for proposal in proposals)]
    metrics |= rounds.diversity_metrics(published, bench.basis.reference_texts, bench.training)
    metrics |= {"policy_steps": float(trainer.steps), "candidates": float(given.learning_posts)}
    return RoundOutput(model, tuple(proposals), metrics, (decision,) if decision else (), state.write())


def _learning_rate(given: RoundInput) -> float:
    """The original's 1e-5, unless `extra` names another ("reinforce_learning_rate")."""
    return float(given.config.extra.get("reinforce_learning_rate", LEARNING_RATE))


def _learn(
    given: RoundInput, trainer: PolicyTrainer, state: RoundState, metrics: dict[str, float], on_step: OnStep
) -> tuple[RoundState, str]:
    """One step on the learning arm's posts not used before, scaled by the window of everything scored so far."""
    own = sorted((post for post in given.scored if post.arm == "learning"), key=lambda post: post.published_order)
    scaled = window_scale([post.reward for post in own])
    used = set(state.trained)
    fresh = [(post, float(value)) for post, value in zip(own, scaled, strict=True) if post.key not in used]
    limit = trainer.policy.positions - 1
    batch = [(published_sample(trainer.policy, post.text, limit), value) for post, value in fresh]
    batch = [(sample, value) for sample, value in batch if sample.token_ids]
    if not batch:
        return state, "No policy step: no new scores."
    step = trainer.step([sample for sample, _ in batch], [value for _, value in batch], LossParams())
    if step.outcome == "not_finite":
        return state, "No policy step: its loss or gradient was not a number. The policy stays as it was."
    metrics |= step.metrics
    on_step(0, step.metrics)
    return replace(state, trained=tuple(post.key for post in own)), ""


def _propose(given: RoundInput, bench: Bench, policy: CausalLanguageModel) -> list[Proposal]:
    guard = rounds.guard_for(given, bench.training)
    proposals: list[Proposal] = []
    arms: tuple[tuple[Arm, CausalLanguageModel, int], ...] = (
        ("learning", policy, given.learning_posts),
        ("baseline", bench.reference, given.baseline_posts),
    )
    for arm, model, count in arms:
        params = rounds.sampling(given.config, rounds.seed_for(given, arm))
        samples: list[Sample] = rounds.draw(model, _SPARE * count, params) if count else []
        for sample in choose_plain(samples, count, guard):
            nearest, run = bench.training.nearest(sample.text)
            proposals.append(Proposal(sample.text, arm, sample.logprob, params, nearest_text=nearest, shared_run=run))
    return proposals
