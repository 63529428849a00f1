"""What the rounds without a reward model share: a policy that takes careful steps, and plain samples of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.engine import rounds
from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams
from training.engine.models.causal import CausalLanguageModel
from training.engine.policy import PolicyTrainer, Step, published_sample
from training.engine.proposing import PlainProposer, conclude
from training.engine.round_types import RoundInput, RoundOutput, ScoredPost
from training.engine.rounds import RoundState, Underway
from training.engine.scores import all_equal, normalise_rewards
from training.engine.types import OnStep, Sample

NOTHING_NEW = "No policy step: no new scores."
NOT_A_NUMBER = "No policy step: its loss or gradient was not a number. The policy stays as it was."
NOT_CHOSEN = "this algorithm does not choose among posts, so try a lower learning rate or another algorithm"


@dataclass(kw_only=True)
class PlainRound(Underway):
    """A round under way whose policy learns from what is there already: published posts, or people's decisions."""

    algorithm: Algorithm
    on_step: OnStep
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
        if not (self.moved or self.pulled) or self.training is None:
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
        """Note the steps on a batch, and settle what they came to (`Underway.settle`). True when at least one was taken
        and kept: only then was anything learned from the batch.
        """
        for step in steps:
            if step.outcome == "not_finite":
                self.metrics["not_finite_steps"] = 1.0
                self.decisions.append(NOT_A_NUMBER)
                self.go_back()
                return False
            self.metrics |= step.metrics
            self.on_step(self.moved, step.metrics)
            self.moved += step.outcome == "taken"
        return self.settle(trainer, steps[-1], kl_target) and any(step.outcome == "taken" for step in steps)


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
        metrics=rounds.score_metrics(given.scored, rewards, given.lineage),
    )


def finish(now: PlainRound) -> RoundOutput:
    """Save the policy if it moved, and propose plain samples."""
    now.watch_diversity(NOT_CHOSEN)
    now.watch_progress()
    model = now.save()
    guard = rounds.guard_for(now.given, now.bench.training)
    return conclude(now, PlainProposer(now, guard), model)
