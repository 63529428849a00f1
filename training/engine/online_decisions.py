"""Rounds that learn from the review queue: what people approved, declined and rewrote.

Posts are then proposed as the reward model would choose them, once there are scores; before, they are plain samples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams
from training.engine.kl import kl_target
from training.engine.online_plain import PlainRound, begin, finish
from training.engine.online_reward_model import reward_model_round
from training.engine.policy import CLIP_NORM, policy_batch
from training.engine.round_types import RoundInput, RoundOutput
from training.engine.types import Decision, OnStep

MIN_PAIRS, MIN_VERDICTS = 4, 8
MOST_PAIRS = 128
"""Pairs that one round learns from, or verdicts of each kind: all are computed at once. The rest waits for the next."""
VALUES = {"approved": 1.0, "declined": -1.0}


@dataclass(frozen=True)
class Pair:
    """A text that people preferred, the one that they preferred it to, and the decisions that say so."""

    better: str
    worse: str
    said: tuple[Decision, ...]


def decisions_round(given: RoundInput, algorithm: Algorithm, on_step: OnStep) -> RoundOutput:
    """A round of DPO or KTO."""
    now = begin(given, algorithm, on_step)
    if now.may_learn():
        learn = _learn_pairs if given.config.algorithm == "dpo" else _learn_verdicts
        learn(now)
    return _chosen(now) if len(now.rewards) else finish(now)


def preference_pairs(decisions: Sequence[Decision]) -> list[Pair]:
    """Pairs out of decisions in order of time: what a person made of a post over what it was, and over each other
    declined text the approved one that was decided on nearest in time.
    """
    approved = [(at, each) for at, each in enumerate(decisions) if each.verdict == "approved"]
    pairs = []
    for at, each in enumerate(decisions):
        if each.rewritten:
            pairs.append(Pair(each.rewritten, each.text, (each,)))
        elif each.verdict == "declined" and approved:
            _, nearest = min(approved, key=lambda other: abs(other[0] - at))
            pairs.append(Pair(nearest.text, each.text, (nearest, each)))
    return [pair for pair in pairs if pair.better.strip() and pair.worse.strip() and pair.better != pair.worse]


def _learn_pairs(now: PlainRound) -> None:
    pairs = preference_pairs(_fresh(now))[-MOST_PAIRS:]
    if len(pairs) < MIN_PAIRS:
        now.decisions.append(
            f"No policy step: people's new decisions make {len(pairs)} pairs of a better and a worse text, at least "
            f"{MIN_PAIRS} are needed. Review proposed posts: approve, decline or rewrite some."
        )
        return
    texts = [pair.better for pair in pairs] + [pair.worse for pair in pairs]
    used = [each for pair in pairs for each in pair.said]
    _learn(now, texts, [1.0] * len(pairs) + [-1.0] * len(pairs), used)


def _learn_verdicts(now: PlainRound) -> None:
    fresh = [each for each in _fresh(now) if each.text.strip()]
    approved, declined = ([each for each in fresh if each.verdict == verdict] for verdict in VALUES)
    if len(fresh) < MIN_VERDICTS or not approved or not declined:
        now.decisions.append(
            f"No policy step: people newly approved {len(approved)} and declined {len(declined)} posts; at "
            f"least {MIN_VERDICTS} in all and one of each are needed. Review proposed posts."
        )
        return
    used = [*approved[-MOST_PAIRS:], *declined[-MOST_PAIRS:]]
    _learn(now, [each.text for each in used], [VALUES[each.verdict] for each in used], used)


def _learn(now: PlainRound, texts: Sequence[str], values: Sequence[float], used: Sequence[Decision]) -> None:
    target = kl_target(now.given.config.kl_target, len(now.given.decisions))
    trainer = now.trainer(clip_norm=CLIP_NORM)
    batch = policy_batch(now.policy, now.bench.reference, now.samples(texts), values)
    steps = trainer.steps_on(batch, LossParams(), now.algorithm.steps, kl_target=target)
    if now.book(trainer, steps, target):
        now.use([_mark(each) for each in used])


def _fresh(now: PlainRound) -> list[Decision]:
    """Decisions that no step was taken on yet."""
    used = set(now.state.trained)
    return [each for each in now.given.decisions if _mark(each) not in used]


def _mark(decision: Decision) -> str:
    """What a decision is remembered by: it has no key of its own."""
    return hashlib.sha256(repr((decision.verdict, decision.text, decision.rewritten)).encode()).hexdigest()[:16]


def _chosen(now: PlainRound) -> RoundOutput:
    """Save the policy if it moved, and let the reward model choose among its samples."""
    model = now.save()
    config = replace(now.given.config, policy_steps=0)
    output = reward_model_round(
        replace(now.given, policy=model or now.given.policy, config=config, state=now.state.write()),
        now.algorithm,
        now.on_step,
    )
    # What it says of steps is beside the point: it was told to take none.
    said = [text for text in output.decisions if not text.startswith("No policy step")]
    metrics = {**output.metrics, **{name: v for name, v in now.metrics.items() if math.isfinite(v)}}
    metrics["policy_steps"] = float(now.moved)
    return replace(output, model=model, metrics=metrics, decisions=(*now.decisions, *said))
