"""Stedden's way of choosing a reply: many candidates, only those that pass for a person's, the best received first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.engine.conditioning import known
from training.engine.critics import discriminator, upvotes
from training.engine.critics.reading import read
from training.engine.features import FloatArray
from training.engine.guards import ends_properly
from training.engine.models.causal import CausalLanguageModel
from training.engine.types import Conditions, Prompt, RankedReply, ReplyRanking, SamplingParams

SAMPLING = SamplingParams(temperature=0.7, top_k=40)
REALISM = 0.9
BELOW_CHARACTERS = 1000
NO_CONTEXTS = "This model was not taught to read what a post answers: its replies are written without knowing it."
NO_DISCRIMINATOR = "There is no realism discriminator for this version: no candidate was rejected by it."
MAY_NOT_REJECT = "The realism discriminator is not reliable on this version: no candidate was rejected by it."
NO_UPVOTES = "There is no upvote model for this version: candidates are ranked by realism."


def rank_replies(
    model: CausalLanguageModel,
    reader: CausalLanguageModel,
    critics: Path,
    contexts: Sequence[str],
    candidates: int,
    seed: int,
    least_realism: float = REALISM,
) -> list[ReplyRanking]:
    """For each context (what is to be answered) as many candidates at temperature 0.7 and top-k 40, ranked.

    `critics` is the model folder with the critics, that of the fine-tuned version the model comes from, and `reader`
    the model in it: they were trained and judged on its states, whoever writes. A discriminator that is reliable
    rejects what passes for a person's with `least_realism` or less; 0 rejects nothing. Raises CorruptWeights when they
    are damaged.
    """
    reads = "context" in known(model.tokenizer)
    prompts = [Prompt(conditions=Conditions(context=each if reads else "")) for each in contexts]
    repeated = [prompt for prompt in prompts for _ in range(candidates)]
    samples = model.generate(repeated, replace(SAMPLING, seed=seed))
    texts = [sample.text for sample in samples]
    whole = [ends_properly(sample.text, sample.ended) for sample in samples]
    judged = read(reader, texts, [each for each in contexts for _ in range(candidates)])
    realist, taster = discriminator.load(critics), upvotes.load(critics)
    realism = realist[0].probabilities(judged)[:, 1] if realist else None
    expected = upvotes.expected_class(taster[0].probabilities(judged)) if taster else None
    notes = [] if reads else [NO_CONTEXTS]
    if realist is None:
        notes.append(NO_DISCRIMINATOR)
    elif not realist[1]["may_reject"]:
        notes.append(MAY_NOT_REJECT)
    if taster is None:
        notes.append(NO_UPVOTES)
    threshold = least_realism if realist and realist[1]["may_reject"] else 0.0
    rankings = []
    for at, context in enumerate(contexts):
        own = slice(at * candidates, (at + 1) * candidates)
        ranked = rank(
            texts[own],
            None if realism is None else realism[own],
            None if expected is None else expected[own],
            threshold,
            whole[own],
        )
        rankings.append(ReplyRanking(context, ranked, tuple(notes), reads))
    return rankings


def rank(
    texts: Sequence[str],
    realism: FloatArray | None,
    expected: FloatArray | None,
    threshold: float,
    whole: Sequence[bool] | None = None,
) -> tuple[RankedReply, ...]:
    """Candidates best first: those that may be sent by their expected class of upvotes (by realism where nobody knows
    it), then the rest.

    `realism` and `expected` (n,) are None where there is no such critic; a `threshold` of 0 rejects nothing. `whole`
    says of each whether it ends properly; all do unless given.
    """
    replies = [
        RankedReply(
            text,
            None if realism is None else float(realism[at]),
            None if expected is None else float(expected[at]),
            _objection(text, None if realism is None else float(realism[at]), threshold)
            or ("" if whole is None or whole[at] else "It breaks off in the middle."),
        )
        for at, text in enumerate(texts)
    ]
    worth = realism if expected is None else expected
    order = range(len(texts)) if worth is None else np.argsort(-worth, kind="stable")
    return tuple(sorted((replies[at] for at in order), key=lambda reply: bool(reply.objection)))


def _objection(text: str, realism: float | None, threshold: float) -> str:
    if not text.strip():
        return "It is empty."
    if len(text) >= BELOW_CHARACTERS:
        return f"It has {len(text)} characters; fewer than {BELOW_CHARACTERS} are allowed."
    if realism is not None and threshold and realism <= threshold:
        return f"It passes for a person's with probability {realism:.2f}; more than {threshold:g} is asked for."
    return ""
