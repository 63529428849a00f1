"""Rounds that learn from the review queue: what people approved, declined and rewrote.

Posts are then proposed as the reward model would choose them, once there are scores; before, they are plain samples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams
from training.engine.kl import kl_target
from training.engine.online_plain import PlainRound, begin, finish
from training.engine.online_reward_model import reward_model_round
from training.engine.policy import CLIP_NORM, policy_batch
from training.engine.types import Decision, OnStep, RoundInput, RoundOutput

MIN_PAIRS, MIN_VERDICTS = 4, 8
MOST_TEXTS = 256

Pair = tuple[str, str]
"""A text that people preferred, and the one that they preferred it to."""


def decisions_round(given: RoundInput, algorithm: Algorithm, on_step: OnStep) -> RoundOutput:
    """A round of DPO or KTO."""
    now = begin(given, algorithm, on_step)
    if now.may_learn():
        learn = _learn_pairs if given.config.algorithm == "dpo" else _learn_verdicts
        learn(now)
    return _chosen(now) if len(now.rewards) else finish(now)


def preference_pairs(decisions: Sequence[Decision]) -> list[Pair]:
    """Pairs out of decisions in order of time: each rewriting over its original, and the approved text that was decided
    on nearest in time over each declined one.
    """
    pairs = [(each.rewritten, each.text) for each in decisions if _rewrites(each)]
    approved = [(at, each.rewritten or each.text) for at, each in enumerate(decisions) if each.verdict == "approved"]
    for at, each in enumerate(decisions):
        if each.verdict == "declined" and approved:
            _, better = min(approved, key=lambda other: abs(other[0] - at))
            pairs.append((better, each.text))
    return [(better, worse) for better, worse in pairs if better.strip() and worse.strip() and better != worse]


def verdicts(decisions: Sequence[Decision]) -> list[tuple[str, float]]:
    """Texts with +1 for approved and −1 for declined; of a rewritten post, only what it was made into."""
    return [
        (each.rewritten or each.text, 1.0) if each.verdict == "approved" else (each.text, -1.0)
        for each in decisions
        if (each.rewritten or each.text).strip()
    ]


def _rewrites(decision: Decision) -> bool:
    return decision.verdict == "approved" and bool(decision.rewritten) and decision.rewritten != decision.text


def _learn_pairs(now: PlainRound) -> None:
    fresh = _fresh(now)
    pairs = preference_pairs(fresh)[-MOST_TEXTS // 2 :]
    if len(pairs) < MIN_PAIRS:
        now.decisions.append(
            f"No policy step: people's new decisions make {len(pairs)} pairs of a better and a worse text, at least "
            f"{MIN_PAIRS} are needed. Review proposed posts: approve, decline or rewrite some."
        )
        return
    texts = [better for better, _ in pairs] + [worse for _, worse in pairs]
    _learn(now, texts, [1.0] * len(pairs) + [-1.0] * len(pairs), fresh)


def _learn_verdicts(now: PlainRound) -> None:
    fresh = _fresh(now)
    judged = verdicts(fresh)[-MOST_TEXTS:]
    kinds = [value for _, value in judged]
    if len(judged) < MIN_VERDICTS or 1.0 not in kinds or -1.0 not in kinds:
        now.decisions.append(
            f"No policy step: people newly approved {kinds.count(1.0)} and declined {kinds.count(-1.0)} posts; at "
            f"least {MIN_VERDICTS} in all and one of each are needed. Review proposed posts."
        )
        return
    _learn(now, [text for text, _ in judged], kinds, fresh)


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
