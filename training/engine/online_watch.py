"""What every round is told and tells beside its learning: the watchdog's readings and the trial's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from training.engine import rounds, watchdog
from training.engine.algorithms.batch import entropy
from training.engine.canary import trial_report
from training.engine.models.causal import CausalLanguageModel
from training.engine.policy import document_of, published_sample, written_logits
from training.engine.scores import normalise_rewards
from training.engine.types import RoundInput, RoundOutput
from training.engine.watchdog import FEWEST, RECENT, Reading

_ROWS = 16


def watched_posts(round: RoundInput) -> list[str]:
    """What the watchdog looks at, oldest first: the posts of the version on trial while there are some, else all of
    the learning arm's.
    """
    if on_trial := [post.text for post in round.scored if post.speaker == "policy"]:
        return on_trial
    baseline = {post.text for post in round.scored if post.arm == "baseline"}
    return [text for text in round.published_texts if text not in baseline]


def watch(round: RoundInput) -> list[Reading]:
    """The watchdog's readings at the beginning of a round; none while there are too few posts."""
    posts = watched_posts(round)[-RECENT:]
    if len(posts) < FEWEST:
        return []
    bench = rounds.bench(round)
    policy = CausalLanguageModel.load(str(round.policy))
    own = mean_entropy(policy, posts)
    usual = mean_entropy(bench.reference, bench.basis.reference_texts[:RECENT])
    texts = watchdog.watch(posts, bench.basis.reference_texts, [post.text for post in round.history])
    return [*texts, watchdog.entropy_reading(own, usual)]


def held(round: RoundInput, readings: Sequence[Reading]) -> RoundInput:
    """The round, its policy held where it is when the watchdog raises an alarm."""
    alarm = watchdog.alarm_of(readings)
    return replace(round, hold=f"the watchdog raised an alarm. {alarm}".rstrip(".")) if alarm else round


def reported(round: RoundInput, readings: Sequence[Reading], output: RoundOutput) -> RoundOutput:
    """The output with `report["watchdog"]`, and `report["canary"]` while a version is on trial."""
    rewards = normalise_rewards([post.reward for post in round.scored], [post.hour_of_week for post in round.scored])
    report = output.report | {"watchdog": watchdog.as_json(readings)}
    if (trial := trial_report(round.scored, rewards)) is not None:
        report["canary"] = trial
    return replace(output, report=report)


@torch.no_grad()
def mean_entropy(model: CausalLanguageModel, texts: Sequence[str]) -> float:
    """Entropy in nats, averaged over every token of the texts, of what the model would have written there."""
    samples = [published_sample(model, text, model.positions - 1) for text in texts]
    documents = [document_of(model, sample) for sample in samples if sample.token_ids]
    total, count = 0.0, 0
    for start in range(0, len(documents), _ROWS):
        logits, _, _ = written_logits(model, documents[start : start + _ROWS])
        total += float(entropy(logits.log_softmax(dim=1)).sum())
        count += len(logits)
    return total / count if count else 0.0
