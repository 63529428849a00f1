"""The default round: normalise, refit the reward model on everything, check it, a few policy steps on unpublished
samples, then the best of many candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from training.engine import reward_model, rounds
from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams
from training.engine.features import FloatArray
from training.engine.guards import Guard
from training.engine.kl import KLController, kl_target, pull_back
from training.engine.models.causal import CausalLanguageModel
from training.engine.policy import PolicyTrainer
from training.engine.rounds import Bench, RoundState
from training.engine.scores import normalise_rewards
from training.engine.selection import RECENT, Candidate, Variety, choose, choose_plain, distinct_ratio, spread_out
from training.engine.types import Arm, OnStep, Proposal, RoundInput, RoundOutput, Sample

TRUSTED_HISTORY = 0.5
POSTS_WITHOUT_HISTORY = 64
OBJECTION_COST = 1.0
CAUTION_AFTER_FAILED_CHECK = 0.5
DIVERSITY_FLOOR, DIVERSITY_RECOVERED = 0.8, 0.9
_SPARE = 4


@dataclass
class _Round:
    """One round under way."""

    given: RoundInput
    bench: Bench
    policy: CausalLanguageModel
    guard: Guard
    state: RoundState
    rewards: FloatArray
    posterior: reward_model.Posterior
    check: reward_model.Check
    metrics: dict[str, float]
    decisions: list[str] = field(default_factory=list)

    def predict(self, texts: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        return self.posterior.predict(self.bench.columns(texts))


def reward_model_round(given: RoundInput, algorithm: Algorithm, on_step: OnStep) -> RoundOutput:
    """A round of an algorithm that learns from unpublished samples valued by the reward model."""
    now = _begin(given)
    _watch_diversity(now)
    steps = _learn(now, algorithm, on_step) if _may_learn(now) else 0
    model = None
    if steps:
        model = given.workdir / "model"
        now.policy.save(model)
    proposals = _propose(now)
    published = [*given.published_texts, *(proposal.text for proposal in proposals)]
    now.metrics |= rounds.diversity_metrics(published, now.bench.basis.reference_texts, now.bench.training)
    now.metrics |= {"policy_steps": float(steps), "beta": now.state.beta}
    return RoundOutput(model, tuple(proposals), now.metrics, tuple(now.decisions), now.state.write())


def _begin(given: RoundInput) -> _Round:
    bench = rounds.bench(given)
    scored = given.scored
    rewards = normalise_rewards([post.reward for post in scored], [post.hour_of_week for post in scored])
    metrics = rounds.score_metrics(scored, rewards)
    foretold = [(p.predicted, r) for p, r in zip(scored, rewards, strict=True) if p.predicted is not None]
    check = reward_model.check([p for p, _ in foretold], [float(r) for _, r in foretold])
    if check.correlation is not None and check.slope is not None:
        metrics |= {"reward_model_correlation": check.correlation, "reward_model_slope": check.slope}
    prior = bench.basis.prior(1.0 if check.passed else CAUTION_AFTER_FAILED_CHECK)
    posterior = reward_model.fit(bench.columns([post.text for post in scored]), rewards, prior)
    return _Round(
        given=given,
        bench=bench,
        policy=CausalLanguageModel.load(str(given.policy)),
        guard=rounds.guard_for(given, bench.training),
        state=RoundState.read(given.state, given.config),
        rewards=rewards,
        posterior=posterior,
        check=check,
        metrics=metrics,
    )


def _watch_diversity(now: _Round) -> None:
    """Keep published posts varied: a price on echoes that follows the measure, and below the floor half the KL and
    Thompson.
    """
    ratio = distinct_ratio(now.given.published_texts, now.bench.basis.reference_texts)
    state = now.state
    low = ratio < DIVERSITY_FLOOR or (state.thompson and ratio < DIVERSITY_RECOVERED)
    if low:
        now.decisions.append(
            f"Posts repeat themselves (distinct-2 at {ratio:.0%} of the untrained model's): "
            "less distance allowed, wider choice."
        )
    now.state = replace(
        state, price=Variety(state.price).update(ratio).price, kl_factor=0.5 if low else 1.0, thompson=low
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
    elif scored == 0 or scored < needed:
        reason = f"{scored} posts have a score, at least {max(1, needed)} are needed"
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
        params = LossParams(beta=controller.beta, advantage_clip=config.advantage_clip)
        step = trainer.step(samples, _worth(now, samples), params, kl_limit=2 * target)
        if step.outcome == "not_finite":
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


def _propose(now: _Round) -> list[Proposal]:
    given = now.given
    explorers = round(given.learning_posts * given.config.baseline_share / 2)
    best = given.learning_posts - explorers
    pool = _drawn(now, now.policy, max(1, given.config.candidates_per_post) * given.learning_posts, "learning")
    now.metrics["candidates"] = float(len(pool))
    proposals = _best(now, pool, best)
    taken = {proposal.text for proposal in proposals}
    plain = [sample for sample in pool if sample.text not in taken]
    wanted = given.learning_posts - len(proposals)
    proposals += [_plain(now, sample, "learning") for sample in choose_plain(plain, wanted, now.guard)]
    anchors = _drawn(now, now.bench.reference, _SPARE * given.baseline_posts, "baseline")
    proposals += [_plain(now, sample, "baseline") for sample in choose_plain(anchors, given.baseline_posts, now.guard)]
    if len(proposals) < given.learning_posts + given.baseline_posts:
        now.decisions.append(f"Only {len(proposals)} posts passed the guards this round.")
    return proposals


def _best(now: _Round, pool: Sequence[Sample], count: int) -> list[Proposal]:
    if not pool or count < 1:
        return []
    columns = now.bench.columns([sample.text for sample in pool])
    means, deviations = now.posterior.predict(columns)
    candidates = [
        Candidate(sample, float(mean), float(sd)) for sample, mean, sd in zip(pool, means, deviations, strict=True)
    ]
    if now.state.thompson:
        rng = np.random.default_rng(rounds.seed_for(now.given, "thompson"))
        values = np.stack([columns @ now.posterior.draw(rng) for _ in range(count)])
    else:
        values = spread_out(means, count)
    chosen = choose(candidates, values, now.guard, now.given.published_texts[-RECENT:], now.state.price)
    return [
        replace(
            _proposal(now, choice.candidate, "learning"),
            beaten=tuple((beaten.sample.text, beaten.mean) for beaten in choice.beaten),
        )
        for choice in chosen
    ]


def _plain(now: _Round, sample: Sample, arm: Arm) -> Proposal:
    means, deviations = now.predict([sample.text])
    return _proposal(now, Candidate(sample, float(means[0]), float(deviations[0])), arm)


def _proposal(now: _Round, candidate: Candidate, arm: Arm) -> Proposal:
    nearest, run = now.bench.training.nearest(candidate.sample.text)
    return Proposal(
        text=candidate.sample.text,
        arm=arm,
        logprob=candidate.sample.logprob,
        sampling=rounds.sampling(now.given.config, rounds.seed_for(now.given, arm)),
        predicted=candidate.mean,
        predicted_sd=candidate.sd,
        nearest_text=nearest,
        shared_run=run,
    )
