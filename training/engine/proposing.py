"""From draws to proposals: what the guards allow, plain or the best of many, and plain draws for the baseline arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.engine import rounds
from training.engine.critics.registry import RewardModel
from training.engine.features import FloatArray
from training.engine.guards import Guard, Screening
from training.engine.models.causal import CausalLanguageModel
from training.engine.round_types import Proposal, RoundOutput, Speaker
from training.engine.rounds import Underway
from training.engine.selection import Candidate, Variety, alternating, choose_plain, choose_varied
from training.engine.types import Sample, SamplingParams

VARIETY_AIM = 0.87
"""distinct-2 that the learning arm is held to, as a share of the reference's: the floor of 0.8 and some room."""

_SPARE = 4

Worth = Callable[[FloatArray, int], FloatArray]
"""Columns (n, D) and a number of posts in, what each candidate is worth to each post (posts, n) out."""

Drawn = tuple[Speaker, Sample]

_PURPOSES: dict[Speaker, str] = {"policy": "learning", "stable": "stable", "reference": "baseline"}
"""What a speaker's draws are for; each purpose has a seed of its own."""


@dataclass
class PlainProposer:
    """Proposes the first draws that the guards allow: honest samples of the models that wrote them. What there is to
    say of it goes to the round.
    """

    now: Underway
    guard: Guard

    def propose(self) -> list[Proposal]:
        """The learning arm's posts, then the baseline arm's. While a version is on trial, the stable one and the policy
        write side by side.
        """
        given = self.now.given
        writers: dict[Speaker, CausalLanguageModel] = {"policy": self.now.policy}
        counts: dict[Speaker, int] = {"policy": given.learning_posts}
        if given.stable is not None and given.stable_posts:
            writers["stable"] = CausalLanguageModel.load(str(given.stable))
            counts["stable"] = given.stable_posts
        drawn = [
            (speaker, sample)
            for speaker, model in writers.items()
            for sample in self._drawn(speaker, model, self._draws_per_post() * counts[speaker])
        ]
        anchors = self._drawn("reference", self.now.bench.reference, _SPARE * given.baseline_posts)
        sound = self._screened([*drawn, *(("reference", sample) for sample in anchors)])
        own = [(speaker, sample) for speaker, sample in sound if speaker != "reference"]
        proposals = self._learning(own, counts)
        plain = [sample for speaker, sample in sound if speaker == "reference"]
        proposals += self._baseline(choose_plain(plain, given.baseline_posts, self.guard))
        wanted = sum(counts.values()) + given.baseline_posts
        if len(proposals) < wanted:
            self.now.decisions.append(f"Only {len(proposals)} of {wanted} posts passed the guards this round.")
        return proposals

    def _draws_per_post(self) -> int:
        return _SPARE

    def _learning(self, sound: Sequence[Drawn], counts: Mapping[Speaker, int]) -> list[Proposal]:
        return [
            self._proposal(speaker, sample)
            for speaker, count in counts.items()
            for sample in choose_plain([sample for who, sample in sound if who == speaker], count, self.guard)
        ]

    def _baseline(self, chosen: Sequence[Sample]) -> list[Proposal]:
        return [self._proposal("reference", sample) for sample in chosen]

    def _screened(self, drawn: Sequence[Drawn]) -> list[Drawn]:
        """What the guard has nothing against; the round reports the others."""
        screening = Screening.of((sample for _, sample in drawn), self.guard)
        self.now.report["guards"] = screening.report()
        self.now.metrics["candidates"] = float(len(drawn))
        if sentence := screening.sentence():
            self.now.decisions.append(sentence)
        return [drawn[place] for place in screening.passed]

    def _drawn(self, speaker: Speaker, model: CausalLanguageModel, count: int) -> list[Sample]:
        """`count` samples less the empty ones."""
        if count < 1:
            return []
        samples = rounds.draw(model, count, self._sampling(speaker), self.now.given.limit)
        return [sample for sample in samples if sample.token_ids]

    def _sampling(self, speaker: Speaker) -> SamplingParams:
        return rounds.sampling(self.now.given.config, rounds.seed_for(self.now.given, _PURPOSES[speaker]))

    def _proposal(self, speaker: Speaker, sample: Sample, **known: Any) -> Proposal:
        nearest, run = self.now.bench.training.nearest(sample.text)
        return Proposal(
            text=sample.text,
            arm="baseline" if speaker == "reference" else "learning",
            logprob=sample.logprob,
            sampling=self._sampling(speaker),
            nearest_text=nearest,
            shared_run=run,
            speaker=speaker,
            **known,
        )


@dataclass
class Proposer(PlainProposer):
    """Proposes the best of many candidates. `variety` is that of the learning arm's posts so far. The stable version
    and the policy take turns in choosing.
    """

    reward_model: RewardModel
    worth: Worth
    variety: Variety

    def _draws_per_post(self) -> int:
        return max(1, self.now.given.config.candidates_per_post)

    def _learning(self, sound: Sequence[Drawn], counts: Mapping[Speaker, int]) -> list[Proposal]:
        if not sound:
            return []
        columns = self.now.bench.columns([sample.text for _, sample in sound])
        means, deviations = self.reward_model.predict(columns)
        candidates = [
            Candidate(sample, float(mean), float(sd), speaker)
            for (speaker, sample), mean, sd in zip(sound, means, deviations, strict=True)
        ]
        values = alternating(self.worth(columns, sum(counts.values())), candidates, counts)
        choices, price = choose_varied(candidates, values, self.guard, self.variety, VARIETY_AIM)
        self.now.metrics["echo_price"] = price
        return [self._foretold(choice.candidate, choice.beaten) for choice in choices]

    def _baseline(self, chosen: Sequence[Sample]) -> list[Proposal]:
        means, deviations = self.reward_model.predict(self.now.bench.columns([sample.text for sample in chosen]))
        return [
            self._foretold(Candidate(sample, float(mean), float(sd), "reference"))
            for sample, mean, sd in zip(chosen, means, deviations, strict=True)
        ]

    def _foretold(self, candidate: Candidate, beaten: Sequence[Candidate] = ()) -> Proposal:
        return self._proposal(
            candidate.speaker,
            candidate.sample,
            predicted=candidate.mean,
            predicted_sd=candidate.sd,
            beaten=tuple((each.sample.text, each.mean) for each in beaten),
        )


def conclude(now: Underway, proposer: PlainProposer, model: Path | None) -> RoundOutput:
    """Propose, and tell all that the round has to tell. `model` is the folder of the new weights."""
    proposals = proposer.propose()
    published = [*now.given.published_texts, *(proposal.text for proposal in proposals)]
    now.metrics |= rounds.diversity_metrics(published, now.bench.basis.reference_texts, now.bench.training)
    now.metrics["policy_steps"] = float(now.moved)
    return RoundOutput(model, tuple(proposals), now.metrics, tuple(now.decisions), now.state.write(), now.report)
