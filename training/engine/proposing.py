"""From candidates to proposals: the best that the guards allow for the learning arm, plain draws for the baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from training.engine import rounds
from training.engine.critics.registry import RewardModel
from training.engine.features import FloatArray
from training.engine.guards import Guard, Screening
from training.engine.models.causal import CausalLanguageModel
from training.engine.rounds import Bench
from training.engine.selection import Candidate, Variety, alternating, choose_plain, choose_varied
from training.engine.types import Arm, Proposal, RoundInput, Sample, SamplingParams, Speaker

VARIETY_AIM = 0.87
"""distinct-2 that the learning arm is held to, as a share of the reference's: the floor of 0.8 and some room."""

_SPARE = 4

Worth = Callable[[FloatArray, int], FloatArray]
"""Columns (n, D) and a number of posts in, what each candidate is worth to each post (posts, n) out."""

_PURPOSES: dict[Speaker, str] = {"policy": "learning", "stable": "stable", "reference": "baseline"}
"""What a speaker's draws are for; each purpose has a seed of its own."""


@dataclass
class Proposer:
    """Chooses a round's posts. `variety` is that of the learning arm's posts so far; `metrics`, `decisions` and
    `report` gather what there is to say about the choice.
    """

    given: RoundInput
    bench: Bench
    guard: Guard
    reward_model: RewardModel
    worth: Worth
    variety: Variety
    metrics: dict[str, float] = field(default_factory=dict)
    decisions: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)

    def propose(self, policy: CausalLanguageModel) -> list[Proposal]:
        """The learning arm's posts, then the baseline arm's. While a version is on trial, the stable one and the policy
        write side by side and take turns in choosing.
        """
        given = self.given
        models: dict[Speaker, CausalLanguageModel] = {"policy": policy}
        counts: dict[Speaker, int] = {"policy": given.learning_posts}
        if given.stable is not None and given.stable_posts:
            models["stable"] = CausalLanguageModel.load(str(given.stable))
            counts["stable"] = given.stable_posts
        each = max(1, given.config.candidates_per_post)
        drawn = [
            (speaker, sample)
            for speaker, model in models.items()
            for sample in self._drawn(speaker, model, each * counts[speaker])
        ]
        proposals = [*self._best(drawn, counts), *self._anchors()]
        wanted = sum(counts.values()) + given.baseline_posts
        if len(proposals) < wanted:
            self.decisions.append(f"Only {len(proposals)} of {wanted} posts passed the guards this round.")
        return proposals

    def _best(self, drawn: Sequence[tuple[Speaker, Sample]], counts: dict[Speaker, int]) -> list[Proposal]:
        screening = Screening.of((sample for _, sample in drawn), self.guard)
        self.report["guards"] = screening.report()
        self.metrics["candidates"] = float(len(drawn))
        if sentence := screening.sentence():
            self.decisions.append(sentence)
        sound = [drawn[place] for place in screening.passed]
        if not sound:
            return []
        columns = self.bench.columns([sample.text for _, sample in sound])
        means, deviations = self.reward_model.predict(columns)
        candidates = [
            Candidate(sample, float(mean), float(sd), speaker)
            for (speaker, sample), mean, sd in zip(sound, means, deviations, strict=True)
        ]
        values = alternating(self.worth(columns, sum(counts.values())), candidates, counts)
        choices, price = choose_varied(candidates, values, self.guard, self.variety, VARIETY_AIM)
        self.metrics["echo_price"] = price
        return [self._proposal(choice.candidate, "learning", choice.beaten) for choice in choices]

    def _anchors(self) -> list[Proposal]:
        count = self.given.baseline_posts
        samples = choose_plain(self._drawn("reference", self.bench.reference, _SPARE * count), count, self.guard)
        means, deviations = self.reward_model.predict(self.bench.columns([sample.text for sample in samples]))
        return [
            self._proposal(Candidate(sample, float(mean), float(sd), "reference"), "baseline")
            for sample, mean, sd in zip(samples, means, deviations, strict=True)
        ]

    def _drawn(self, speaker: Speaker, model: CausalLanguageModel, count: int) -> list[Sample]:
        """`count` samples less the empty ones."""
        if count < 1:
            return []
        samples = rounds.draw(model, count, self._sampling(speaker), self.given.limit)
        return [sample for sample in samples if sample.token_ids]

    def _sampling(self, speaker: Speaker) -> SamplingParams:
        return rounds.sampling(self.given.config, rounds.seed_for(self.given, _PURPOSES[speaker]))

    def _proposal(self, candidate: Candidate, arm: Arm, beaten: Sequence[Candidate] = ()) -> Proposal:
        nearest, run = self.bench.training.nearest(candidate.sample.text)
        return Proposal(
            text=candidate.sample.text,
            arm=arm,
            logprob=candidate.sample.logprob,
            sampling=self._sampling(candidate.speaker),
            predicted=candidate.mean,
            predicted_sd=candidate.sd,
            beaten=tuple((each.sample.text, each.mean) for each in beaten),
            nearest_text=nearest,
            shared_run=run,
            speaker=candidate.speaker,
        )
