"""What the rounds without a reward model share: a policy that takes careful steps, and plain samples of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from training.engine import rounds
from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams
from training.engine.features import FloatArray
from training.engine.guards import Guard
from training.engine.kl import pull_back
from training.engine.models.causal import CausalLanguageModel
from training.engine.policy import PolicyTrainer, Step, published_sample
from training.engine.rounds import Bench, RoundState
from training.engine.scores import all_equal, normalise_rewards
from training.engine.selection import choose_plain
from training.engine.types import Arm, OnStep, Proposal, RoundInput, RoundOutput, Sample, ScoredPost, Speaker

NOTHING_NEW = "No policy step: no new scores."
NOT_A_NUMBER = "No policy step: its loss or gradient was not a number. The policy stays as it was."
_SPARE = 4


@dataclass
class PlainRound:
    """One round under way. `rewards` are `given.scored`'s in standard units; `moved` counts the policy's steps."""

    given: RoundInput
    algorithm: Algorithm
    on_step: OnStep
    bench: Bench
    policy: CausalLanguageModel
    state: RoundState
    rewards: FloatArray
    metrics: dict[str, float]
    decisions: list[str] = field(default_factory=list)
    moved: int = 0
    training: PolicyTrainer | None = None

    def trainer(self, clip_norm: float | None) -> PolicyTrainer:
        """Steps at the algorithm's learning rate, unless `extra` names another ("reinforce_learning_rate"). Adam goes
        on from where the policy's last round left it.
        """
        config = self.given.config
        usual = self.algorithm.learning_rate(config.learning_rate)
        rate = float(config.extra.get(f"{config.algorithm}_learning_rate", usual))
        self.training = PolicyTrainer(self.policy, self.bench.reference, self.algorithm, rate, clip_norm)
        self.training.resume(self.given.policy)
        return self.training

    def save(self) -> Path | None:
        """The folder of the new weights, and of Adam's moments beside them; None when the policy did not move."""
        if not self.moved or self.training is None:
            return None
        model = self.given.workdir / "model"
        self.policy.save(model)
        self.training.keep(model)
        return model

    def regularised(self) -> LossParams:
        """The original's regularisers, with its weights unless `extra` names others."""
        usual, extra = LossParams(), self.given.config.extra
        return LossParams(
            departure_weight=float(extra.get("departure_weight", usual.departure_weight)),
            entropy_weight=float(extra.get("entropy_weight", usual.entropy_weight)),
        )

    def may_learn(self) -> bool:
        """Whether the policy may move this round; says why where it may not."""
        return self._unless(self.given.hold)

    def may_learn_from_scores(self) -> bool:
        """Whether the policy may move, and the scores tell it where to; says why where not. Equal ones are kept for a
        round in which there is something to hold them against.
        """
        reason = rounds.equal_scores(len(self.rewards)) if all_equal(self.rewards) else ""
        return self.may_learn() and self._unless(reason)

    def _unless(self, reason: str) -> bool:
        if reason:
            self.decisions.append(f"No policy step: {reason}.")
        return not reason

    def fresh(self) -> list[tuple[ScoredPost, float]]:
        """The learning arm's posts that no step was taken on yet, in order of publication, with their rewards."""
        used = set(self.state.trained)
        pairs = zip(self.given.scored, self.rewards, strict=True)
        new = [(post, float(reward)) for post, reward in pairs if post.arm == "learning" and post.key not in used]
        return sorted(new, key=lambda pair: pair[0].published_order)

    def use(self, keys: Sequence[str]) -> None:
        """Remember that a step was taken on these."""
        self.state = replace(self.state, trained=tuple(dict.fromkeys([*self.state.trained, *keys])))

    def samples(self, texts: Sequence[str]) -> list[Sample]:
        """Published texts as the samples they once were."""
        return [published_sample(self.policy, text, self.policy.positions - 1) for text in texts]

    def book(self, trainer: PolicyTrainer, steps: Sequence[Step], kl_target: float = math.inf) -> bool:
        """Note steps that were taken; pull a policy back to `kl_target` nats a post that went too far. False, and the
        policy as the round began, when one was not a number.
        """
        for step in steps:
            if step.outcome == "not_finite":
                self.metrics["not_finite_steps"] = 1.0
                self.decisions.append(NOT_A_NUMBER)
                self.policy, self.moved = CausalLanguageModel.load(str(self.given.policy)), 0
                return False
            self.metrics |= step.metrics
            self.on_step(self.moved, step.metrics)
            if step.outcome == "taken":
                self.moved += 1
            elif step.outcome == "too_far":
                share = pull_back(step.metrics["kl"], kl_target)
                trainer.move_towards_reference(share)
                self.moved += 1
                self.decisions.append(
                    f"The policy had drifted to {step.metrics['kl']:.1f} nats a post, twice what is allowed: "
                    f"pulled back to {share:.0%} of the way."
                )
        return True


def begin(given: RoundInput, algorithm: Algorithm, on_step: OnStep) -> PlainRound:
    """Models, memory and scores at hand."""
    rewards = normalise_rewards([post.reward for post in given.scored], [post.hour_of_week for post in given.scored])
    return PlainRound(
        given=given,
        algorithm=algorithm,
        on_step=on_step,
        bench=rounds.bench(given),
        policy=CausalLanguageModel.load(str(given.policy)),
        state=RoundState.read(given.state, given.config),
        rewards=rewards,
        metrics=rounds.score_metrics(given.scored, rewards),
    )


def finish(now: PlainRound) -> RoundOutput:
    """Save the policy if it moved, and propose plain samples."""
    model = now.save()
    proposals = propose(now)
    published = [*now.given.published_texts, *(proposal.text for proposal in proposals)]
    now.metrics |= rounds.diversity_metrics(published, now.bench.basis.reference_texts, now.bench.training)
    now.metrics |= {"policy_steps": float(now.moved), "candidates": float(now.given.learning_posts)}
    return RoundOutput(model, tuple(proposals), now.metrics, tuple(now.decisions), now.state.write())


def propose(now: PlainRound) -> list[Proposal]:
    """Each arm's posts, drawn from its own model; while a version is on trial the stable one speaks beside it."""
    given = now.given
    guard = rounds.guard_for(given, now.bench.training)
    proposals = _drawn(now, "learning", "policy", now.policy, given.learning_posts, guard)
    if given.stable is not None and given.stable_posts:
        stable = CausalLanguageModel.load(str(given.stable))
        proposals += _drawn(now, "learning", "stable", stable, given.stable_posts, guard)
    return proposals + _drawn(now, "baseline", "reference", now.bench.reference, given.baseline_posts, guard)


def _drawn(
    now: PlainRound, arm: Arm, speaker: Speaker, model: CausalLanguageModel, count: int, guard: Guard
) -> list[Proposal]:
    if not count:
        return []
    purpose = "stable" if speaker == "stable" else arm
    params = rounds.sampling(now.given.config, rounds.seed_for(now.given, purpose))
    proposals = []
    for sample in choose_plain(rounds.draw(model, _SPARE * count, params, now.given.limit), count, guard):
        nearest, run = now.bench.training.nearest(sample.text)
        proposals.append(
            Proposal(
                text=sample.text,
                arm=arm,
                logprob=sample.logprob,
                sampling=params,
                nearest_text=nearest,
                shared_run=run,
                speaker=speaker,
            )
        )
    return proposals
