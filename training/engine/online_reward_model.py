"""The default round: normalise, refit the reward model on everything, check it, a few policy steps on unpublished
samples, then the best of many candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from training.engine import reward_model, rounds
from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams
from training.engine.critics import calibration, registry
from training.engine.features import FloatArray
from training.engine.guards import Guard
from training.engine.kl import KLController, kl_target, pull_back
from training.engine.models.causal import CausalLanguageModel
from training.engine.policy import PolicyTrainer
from training.engine.proposing import Proposer
from training.engine.rollback import rollback
from training.engine.rounds import Bench, RoundState
from training.engine.scores import all_equal, normalise_rewards
from training.engine.selection import Variety, spread_out
from training.engine.types import OnStep, RoundInput, RoundOutput, Sample

TRUSTED_HISTORY = 0.5
POSTS_WITHOUT_HISTORY = 64
OBJECTION_COST = 1.0
CAUTION_AFTER_FAILED_CHECK = 0.5
DIVERSITY_FLOOR, DIVERSITY_RECOVERED = 0.8, 0.85


@dataclass
class _Round:
    """One round under way."""

    given: RoundInput
    bench: Bench
    policy: CausalLanguageModel
    guard: Guard
    state: RoundState
    rewards: FloatArray
    posterior: registry.RewardModel
    check: reward_model.Check
    metrics: dict[str, float]
    decisions: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)

    def predict(self, texts: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        return self.posterior.predict(self.bench.columns(texts))

    def values(self, columns: FloatArray, count: int) -> FloatArray:
        """What the candidates (n, D) are worth to each of `count` posts (count, n): what is expected of them, or under
        Thompson selection what a draw of the beliefs says.
        """
        if self.state.thompson:
            return self.posterior.thompson(
                columns, count, np.random.default_rng(rounds.seed_for(self.given, "thompson"))
            )
        return spread_out(self.posterior.predict(columns)[0], count)


def reward_model_round(given: RoundInput, algorithm: Algorithm, on_step: OnStep) -> RoundOutput:
    """A round of an algorithm that learns from unpublished samples valued by the reward model."""
    now = _begin(given)
    variety = _watch_diversity(now)
    _watch_progress(now)
    steps = _learn(now, algorithm, on_step) if _may_learn(now) else 0
    model = None
    if steps:
        model = given.workdir / "model"
        now.policy.save(model)
    proposer = Proposer(given, now.bench, now.guard, now.posterior, now.values, variety)
    proposals = proposer.propose(now.policy)
    now.metrics |= proposer.metrics
    now.decisions += proposer.decisions
    now.report |= proposer.report
    published = [*given.published_texts, *(proposal.text for proposal in proposals)]
    now.metrics |= rounds.diversity_metrics(published, now.bench.basis.reference_texts, now.bench.training)
    now.metrics |= {"policy_steps": float(steps), "beta": now.state.beta}
    return RoundOutput(model, tuple(proposals), now.metrics, tuple(now.decisions), now.state.write(), now.report)


@dataclass(frozen=True)
class Belief:
    """What the scored posts teach: their rewards (n,) in standard units, how the last predictions were borne out, and
    the reward model fitted to them.
    """

    rewards: FloatArray
    check: reward_model.Check
    posterior: registry.RewardModel


def believe(given: RoundInput, bench: Bench) -> Belief:
    """Fit the round's reward model to every scored post."""
    scored = given.scored
    rewards = normalise_rewards([post.reward for post in scored], [post.hour_of_week for post in scored])
    foretold = [(p.predicted, r) for p, r in zip(scored, rewards, strict=True) if p.predicted is not None]
    check = reward_model.check([p for p, _ in foretold], [float(r) for _, r in foretold])
    prior = bench.basis.prior(1.0 if check.passed else CAUTION_AFTER_FAILED_CHECK)
    columns = bench.columns([post.text for post in scored])
    spread = np.array([post.noise for post in scored])
    return Belief(rewards, check, registry.fit(given.config.reward_model, columns, rewards, prior, spread))


def _begin(given: RoundInput) -> _Round:
    bench = rounds.bench(given)
    known = believe(given, bench)
    check, metrics = known.check, rounds.score_metrics(given.scored, known.rewards)
    if check.correlation is not None and check.slope is not None:
        metrics |= {"reward_model_correlation": check.correlation, "reward_model_slope": check.slope}
    return _Round(
        given=given,
        bench=bench,
        policy=CausalLanguageModel.load(str(given.policy)),
        guard=rounds.guard_for(given, bench.training),
        state=RoundState.read(given.state, given.config),
        rewards=known.rewards,
        posterior=known.posterior,
        check=check,
        metrics=metrics,
        report=calibration.of_round(given.scored, known.rewards, known.posterior.noise),
    )


def _watch_diversity(now: _Round) -> Variety:
    """How varied the learning arm's posts are. Below the floor: half the KL, and Thompson selection until it has
    recovered.
    """
    baseline = {post.text for post in now.given.scored if post.arm == "baseline"}
    own = [text for text in now.given.published_texts if text not in baseline]
    variety = Variety(own, now.bench.basis.reference_texts)
    ratio = variety.ratio()
    low = ratio < DIVERSITY_FLOOR or (now.state.thompson and ratio < DIVERSITY_RECOVERED)
    if low:
        now.decisions.append(
            f"Posts repeat themselves (distinct-2 at {ratio:.0%} of the untrained model's): "
            "less distance allowed, wider choice."
        )
    now.metrics["distinct_2_ratio"] = ratio
    now.state = replace(now.state, kl_factor=0.5 if low else 1.0, thompson=low)
    return variety


def _watch_progress(now: _Round) -> None:
    """Call for going back to an earlier version where the policy has lost what it had (`rollback`)."""
    scored = now.given.scored
    compared = [place for place, post in enumerate(scored) if post.lineage == scored[-1].lineage]
    if answer := rollback([scored[place] for place in compared], now.rewards[compared], now.state.judged):
        now.report["rollback"] = answer
        now.decisions.append(answer["reason"])
        now.state = replace(now.state, judged=answer["judged"])


def _may_learn(now: _Round) -> bool:
    scored = len(now.rewards)
    config = now.given.config
    needed = config.min_scored_for_policy
    if now.bench.basis.history.trust < TRUSTED_HISTORY:
        needed = max(needed, POSTS_WITHOUT_HISTORY)
    reason = ""
    if config.policy_steps < 1:
        reason = "none are configured"
    elif now.given.hold:
        reason = now.given.hold
    elif scored == 0 or scored < needed:
        reason = f"{scored} posts have a score, at least {max(1, needed)} are needed"
    elif all_equal(now.rewards):
        reason = rounds.equal_scores(scored)
    elif not now.check.passed:
        reason = (
            f"the reward model's last predictions were not borne out (rank correlation {now.check.correlation:.2f}, "
            f"slope {now.check.slope:.2f}); posts are still chosen by it, with less confidence"
        )
    if reason:
        now.decisions.append(f"No policy step: {reason}.")
    return not reason


def _learn(now: _Round, algorithm: Algorithm, on_step: OnStep) -> int:
    """Up to `policy_steps` steps; returns how many changed the policy (pulling it back towards the reference counts as
    one).
    """
    config = now.given.config
    trainer = PolicyTrainer(now.policy, now.bench.reference, algorithm, config.learning_rate, clip_norm=1.0)
    target = kl_target(config.kl_target, len(now.rewards), now.state.kl_factor)
    controller = KLController(now.state.beta)
    moved = 0
    for number in range(config.policy_steps):
        samples = _drawn(now, now.policy, config.samples_per_step, f"step {number}")
        if not samples:
            now.decisions.append("No further policy step: the policy wrote nothing to learn from.")
            break
        params = LossParams(beta=controller.beta, advantage_clip=config.advantage_clip)
        step = trainer.step(samples, _worth(now, samples), params, kl_target=target)
        if step.outcome == "not_finite":
            now.metrics["not_finite_steps"] = 1.0
            now.decisions.append(
                "A policy step was left out: its loss or gradient was not a number. The policy stays as it was."
            )
            break
        now.metrics |= step.metrics
        on_step(number, step.metrics)
        controller = controller.update(step.metrics["kl"], target)
        moved += 1
        if step.outcome == "too_far":
            share = pull_back(step.metrics["kl"], target)
            trainer.move_towards_reference(share)
            now.decisions.append(
                f"The policy had drifted to {step.metrics['kl']:.1f} nats a post, twice what is allowed: "
                f"pulled back to {share:.0%} of the way."
            )
            break
    now.state = replace(now.state, beta=controller.beta)
    return moved


def _drawn(now: _Round, model: CausalLanguageModel, count: int, purpose: str) -> list[Sample]:
    """`count` samples less the empty ones, from a seed of their own for each purpose."""
    if count < 1:
        return []
    params = rounds.sampling(now.given.config, rounds.seed_for(now.given, purpose))
    return [sample for sample in rounds.draw(model, count, params) if sample.token_ids]


def _worth(now: _Round, samples: Sequence[Sample]) -> list[float]:
    """What the learner makes of unpublished samples: the expected score, less a fixed cost for what could not be
    published.
    """
    means, _ = now.predict([sample.text for sample in samples])
    costs = [OBJECTION_COST * bool(now.guard.objection(sample.text, ended=True)) for sample in samples]
    return [float(mean) - cost for mean, cost in zip(means, costs, strict=True)]
