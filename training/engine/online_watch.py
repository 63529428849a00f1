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
from training.engine.round_types import RoundInput, RoundOutput
from training.engine.scores import normalise_rewards
from training.engine.watchdog import FEWEST, RECENT, Reading

_ROWS = 16


def learning_posts(round: RoundInput) -> list[str]:
    """The last posts of the learning arm, sent or not, oldest first; those of a trial are among them."""
    return rounds.own_texts(round)[-RECENT:]


def trial_posts(round: RoundInput) -> list[str]:
    """The last posts that were written on trial, sent or not, oldest first. They need no score to be watched."""
    on_trial = set(round.trial_texts)
    return [text for text in round.published_texts if text in on_trial][-RECENT:]


def watch(round: RoundInput) -> list[Reading]:
    """The watchdog's readings at the beginning of a round, of all the learning arm's posts and of those on trial, each
    from `FEWEST` posts on. The policy's entropy is that on its own posts: on those of the trial, once they are enough.
    """
    posts, on_trial = learning_posts(round), trial_posts(round)
    if len(posts) < FEWEST:
        return []
    bench = rounds.bench(round)
    reference, history = bench.basis.reference_texts, [post.text for post in round.history]
    policy = CausalLanguageModel.load(str(round.policy))
    usual = mean_entropy(bench.reference, reference[:RECENT])
    readings = watchdog.watch(posts, reference, history)
    if len(on_trial) < FEWEST:
        return [*readings, watchdog.entropy_reading(mean_entropy(policy, posts), usual)]
    tried = watchdog.watch(on_trial, reference, history, "posts on trial")
    tried.append(watchdog.entropy_reading(mean_entropy(policy, on_trial), usual))
    return [*readings, *(replace(each, on_trial=True) for each in tried)]


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
