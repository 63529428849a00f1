"""What both kinds of round share: the models at hand, the memory between rounds, and the figures a round reports."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.engine import diversity
from training.engine.basis import Basis, prepare
from training.engine.encoding import encode
from training.engine.features import FloatArray
from training.engine.guards import Guard, TextIndex
from training.engine.intervals import MIN_POSTS, lift_sequence, sequence_radius
from training.engine.models.causal import CausalLanguageModel
from training.engine.policy import PolicyTrainer, Step
from training.engine.rollback import rollback
from training.engine.round_types import OnlineConfig, RoundInput, ScoredPost
from training.engine.scores import all_equal
from training.engine.selection import RECENT, Variety
from training.engine.types import HistoricPost, LengthLimit, Sample, SamplingParams

_BENCHES = 2
_MEMORY = 4096
DIVERSITY_FLOOR, DIVERSITY_RECOVERED = 0.8, 0.85


@dataclass
class Bench:
    """What does not change while a bot learns, kept between rounds of one process: reference, basis, index of training
    texts.
    """

    reference: CausalLanguageModel
    basis: Basis
    training: TextIndex
    _known: OrderedDict[str, FloatArray] = field(default_factory=OrderedDict)

    def columns(self, texts: Sequence[str]) -> FloatArray:
        """The reward model's columns for `texts`; those of published texts are asked for every round, so they are
        remembered.
        """
        missing = list(dict.fromkeys(text for text in texts if text not in self._known))
        if missing:
            for text, row in zip(missing, self.basis.columns(missing, encode(self.reference, missing)), strict=True):
                self._known[text] = row
        found = [self._known[text] for text in texts]
        while len(self._known) > _MEMORY:
            self._known.popitem(last=False)
        return np.array(found).reshape(len(texts), self.basis.width)


_benches: OrderedDict[str, Bench] = OrderedDict()


def bench(round: RoundInput) -> Bench:
    """The bench for a round: remembered (the last two are), or made from the reference's folder and the run's cache
    folder.
    """
    folder = round.cache or round.workdir / "cache"
    mark = hashlib.sha256(repr((round.reference, _written(round.reference), round.history)).encode()).hexdigest()
    if mark not in _benches:
        reference = CausalLanguageModel.load(str(round.reference))
        reference.network.requires_grad_(False)
        basis = prepare(reference, round.history, round.config, folder)
        _benches[mark] = Bench(reference, basis, training_index(round.history))
    _benches.move_to_end(mark)
    while len(_benches) > _BENCHES:
        _benches.popitem(last=False)
    return _benches[mark]


def _written(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.glob("*.safetensors")), default=0.0)


def training_index(history: Sequence[HistoricPost]) -> TextIndex:
    """An index of the texts the model learned from."""
    return TextIndex(post.text for post in history)


def guard_for(round: RoundInput, training: TextIndex) -> Guard:
    """The guard of a round, told of everything the bot has said, and of what people would not have it say."""
    config = round.config
    declined = (each.text for each in round.decisions if each.verdict == "declined")
    said = TextIndex([*round.published_texts, *declined])
    return Guard(training, said, config.min_length, config.max_length, round.limit)


def sampling(config: OnlineConfig, seed: int) -> SamplingParams:
    """How a round draws."""
    return SamplingParams(
        temperature=config.temperature, top_k=config.top_k, max_new_tokens=config.max_new_tokens, seed=seed
    )


def seed_for(round: RoundInput, purpose: str) -> int:
    """A seed of its own for each purpose within a round."""
    digest = hashlib.sha256(f"{round.seed}:{round.number}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def draw(
    model: CausalLanguageModel, count: int, params: SamplingParams, limit: LengthLimit | None = None
) -> list[Sample]:
    """`count` samples without a prompt, none longer than `limit`."""
    return model.generate([""] * count, params, limit)


@dataclass(frozen=True)
class RoundState:
    """What one round tells the next; plain JSON. `trained` are keys of posts that REINFORCE has used, `judged` how many
    windows the last call to roll back was about.
    """

    beta: float
    kl_factor: float = 1.0
    thompson: bool = False
    trained: tuple[str, ...] = ()
    judged: int = 0

    @classmethod
    def read(cls, stored: Mapping[str, Any], config: OnlineConfig) -> RoundState:
        """The state in `RoundInput.state`; an empty one is the first round's; other versions' words are ignored."""
        known = {each.name for each in fields(cls)}
        state = cls(**{"beta": config.kl_initial, **{name: stored[name] for name in known & stored.keys()}})
        return replace(state, trained=tuple(state.trained))

    def write(self) -> dict[str, Any]:
        """As JSON-ready plain data."""
        return {**asdict(self), "trained": list(self.trained)}


def own_texts(round: RoundInput) -> list[str]:
    """The published texts that the learning arm wrote, oldest first."""
    others = {post.text for post in round.scored if post.arm == "baseline"} | set(round.other_texts)
    return [text for text in round.published_texts if text not in others]


@dataclass(kw_only=True)
class Underway:
    """A round under way. `rewards` are `given.scored`'s in standard units; `metrics`, `decisions` and `report` gather
    what there is to say. `moved` counts the policy's steps; it was `pulled` when it was moved towards the reference.
    """

    given: RoundInput
    bench: Bench
    policy: CausalLanguageModel
    state: RoundState
    rewards: FloatArray
    metrics: dict[str, float]
    decisions: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    moved: int = 0
    pulled: bool = False

    def watch_diversity(self, answer: str) -> Variety:
        """How varied the learning arm's posts are. Below the floor, and until it has recovered, the state says so, and
        people are told what the `answer` is.
        """
        variety = Variety(own_texts(self.given), self.bench.basis.reference_texts)
        ratio = variety.ratio()
        low = ratio < DIVERSITY_FLOOR or (self.state.thompson and ratio < DIVERSITY_RECOVERED)
        if low:
            said = f"Posts repeat themselves (distinct-2 at {ratio:.0%} of the untrained model's)"
            self.decisions.append(f"{said}: {answer}.")
        self.metrics["distinct_2_ratio"] = ratio
        self.state = replace(self.state, kl_factor=0.5 if low else 1.0, thompson=low)
        return variety

    def watch_progress(self) -> None:
        """Call for going back to an earlier version where the policy has lost what it had (`rollback`)."""
        scored = self.given.scored
        compared = [place for place, post in enumerate(scored) if post.lineage == self.given.lineage]
        if answer := rollback([scored[place] for place in compared], self.rewards[compared], self.state.judged):
            self.report["rollback"] = answer
            self.decisions.append(answer["reason"])
            self.state = replace(self.state, judged=answer["judged"])

    def settle(self, trainer: PolicyTrainer, last: Step, kl_target: float) -> bool:
        """Let nothing be kept of the steps that is not a number or went too far. False, and the policy as the round
        began, when they came to nothing.
        """
        ending = trainer.settle(last, kl_target)
        if ending.said:
            self.decisions.append(ending.said)
            self.metrics |= {"kl": ending.kl} if math.isfinite(ending.kl) else {"not_finite_steps": 1.0}
        if ending.kept:
            self.pulled = self.pulled or bool(ending.said)
        else:
            self.go_back()
        return ending.kept

    def go_back(self) -> None:
        """The policy as the round began."""
        self.policy, self.moved, self.pulled = CausalLanguageModel.load(str(self.given.policy)), 0, False


def score_metrics(scored: Sequence[ScoredPost], rewards: FloatArray, lineage: str) -> dict[str, float]:
    """Figures of the two arms in standard units, of all scored posts of a lineage; `reward_recent` of the last 32 of
    the learning arm. `lift` has bounds that may be looked at after every post, from eight posts an arm on;
    `equal_scores` says of how many posts all scores are equal.
    """
    compared = [(p, float(r)) for p, r in zip(scored, rewards, strict=True) if p.lineage == lineage]
    arms = {arm: [reward for post, reward in compared if post.arm == arm] for arm in ("learning", "baseline")}
    learning, baseline = arms["learning"], arms["baseline"]
    metrics: dict[str, float] = {"learning_posts": len(learning), "baseline_posts": len(baseline)}
    if learning:
        metrics |= _mean_of("reward", learning)
        metrics["reward_sd"], metrics["reward_recent"] = float(np.std(learning)), float(np.mean(learning[-32:]))
    if baseline:
        metrics |= _mean_of("baseline", baseline)
    if all_equal([reward for _, reward in compared]):
        return metrics | {"equal_scores": len(compared)}
    when = [[float(p.published_order) for p, _ in compared if p.arm == arm] for arm in ("learning", "baseline")]
    if interval := lift_sequence(learning, baseline, when=(when[0], when[1])):
        metrics |= {"lift": interval.estimate, "lift_low": interval.low, "lift_high": interval.high}
    return metrics


def equal_scores(count: int) -> str:
    """Why the policy stays while no two of `count` scores differ (`scores.all_equal`), in words."""
    return f"all {count} scores are equal, so there is nothing to learn from yet"


def _mean_of(name: str, rewards: Sequence[float]) -> dict[str, float]:
    """An arm's mean, with 95 % bounds that may be looked at after every post once they mean something. Scores that are
    all equal do not tell how much the next may differ.
    """
    mean = float(np.mean(rewards))
    metrics = {f"{name}_mean": mean}
    if len(rewards) >= MIN_POSTS and not all_equal(rewards):
        radius = sequence_radius(float(np.std(rewards, ddof=1)), len(rewards), 0.05)
        metrics |= {f"{name}_low": mean - radius, f"{name}_high": mean + radius}
    return metrics


def diversity_metrics(published: Sequence[str], reference: Sequence[str], training: TextIndex) -> dict[str, float]:
    """Figures of the last 64 published texts (the round's own included), and the reference's distinct-2 at the same set
    size.
    """
    recent = list(published[-RECENT:])
    if not recent:
        return {}
    return {
        "distinct_2": diversity.distinct_n(recent),
        "reference_distinct_2": diversity.distinct_at(reference, len(recent)),
        "self_bleu": diversity.self_bleu(recent),
        "duplicate_rate": diversity.duplicate_rate(recent),
        "memorised_rate": diversity.memorised_rate(recent, training),
    }
