"""The default round: normalise, refit the reward model on everything, check it, a few policy steps on unpublished
samples, then the best of many candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.engine import reward_model, rounds
from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams
from training.engine.critics import calibration, registry
from training.engine.features import FloatArray
from training.engine.guards import Guard
from training.engine.kl import KLController, kl_target
from training.engine.models.causal import CausalLanguageModel
from training.engine.policy import PolicyTrainer
from training.engine.proposing import Proposer, conclude
from training.engine.round_types import RoundInput, RoundOutput
from training.engine.rounds import Bench, RoundState, Underway
from training.engine.scores import all_equal, normalise_rewards
from training.engine.selection import spread_out
from training.engine.types import OnStep, Sample

TRUSTED_HISTORY = 0.5
POSTS_WITHOUT_HISTORY = 64
OBJECTION_COST = 1.0
CAUTION_AFTER_FAILED_CHECK = 0.5


@dataclass(kw_only=True)
class _Round(Underway):
    """A round under way that has a reward model: the `posterior`, and how its last predictions were borne out."""

    guard: Guard
    posterior: registry.RewardModel
    check: reward_model.Check

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
    variety = now.watch_diversity("less distance allowed, wider choice")
    now.watch_progress()
    if _may_learn(now):
        _learn(now, algorithm, on_step)
    now.metrics["beta"] = now.state.beta
    model = None
    if now.moved or now.pulled:
        model = given.workdir / "model"
        now.policy.save(model)
    return conclude(now, Proposer(now, now.guard, now.posterior, now.values, variety), model)


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
    check, metrics = known.check, rounds.score_metrics(given.scored, known.rewards, given.lineage)
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


def _learn(now: _Round, algorithm: Algorithm, on_step: OnStep) -> None:
    """Up to `policy_steps` steps, and a look at what they came to."""
    config = now.given.config
    trainer = PolicyTrainer(now.policy, now.bench.reference, algorithm, config.learning_rate, clip_norm=1.0)
    target = kl_target(config.kl_target, len(now.rewards), now.state.kl_factor)
    controller = KLController(now.state.beta)
    step = None
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
        if step.outcome == "too_far":
            break
        now.moved += 1
    now.state = replace(now.state, beta=controller.beta)
    if step is not None and (now.moved or step.outcome == "too_far"):
        now.settle(trainer, step, target)


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
