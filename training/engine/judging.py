"""What the critics make of any texts, not only of a round's candidates: whether they pass for a person's, and what
reward is expected of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.engine import algorithms, rounds
from training.engine.critics import discriminator
from training.engine.critics.reading import read
from training.engine.models.causal import CausalLanguageModel
from training.engine.online_reward_model import believe
from training.engine.round_types import RoundInput

PLAIN = ("published", "critic")
"""What algorithms learn from whose rounds have no reward model: their posts are plain samples."""


def judge(
    reader: CausalLanguageModel, critics: Path, texts: Sequence[str], given: RoundInput | None
) -> list[dict[str, float]]:
    """For each text what is known of it: "realism" (P(a person wrote it)), "predicted" and "predicted_sd" (the expected
    reward and how sure it is, in standard units).

    `reader` is the fine-tuned model of the folder `critics`, whoever wrote the texts: one text has one realism. `given`
    is what a round of the bot's online learning would be told; without it, or where its algorithm has no reward model,
    nothing is predicted. Raises CorruptWeights when the critics' files are damaged.
    """
    found: list[dict[str, float]] = [{} for _ in texts]
    if (realist := discriminator.load(critics)) is not None:
        realism = realist[0].probabilities(read(reader, texts, [""] * len(texts)))[:, 1]
        for each, value in zip(found, realism, strict=True):
            each["realism"] = float(value)
    if given is not None and algorithms.get(given.config.algorithm).learns_from not in PLAIN:
        for each, (mean, sd) in zip(found, _predicted(texts, given), strict=True):
            each |= {"predicted": mean, "predicted_sd": sd}
    return [{name: value for name, value in each.items() if math.isfinite(value)} for each in found]


def _predicted(texts: Sequence[str], given: RoundInput) -> list[tuple[float, float]]:
    given = replace(given, scored=tuple(post for post in given.scored if math.isfinite(post.reward)))
    bench = rounds.bench(given)
    means, deviations = believe(given, bench).posterior.predict(bench.columns(texts))
    return [(float(mean), float(sd)) for mean, sd in zip(means, deviations, strict=True)]
