"""A small classifier of toxicity: logistic regression over hashed words, pairs of words and runs of letters.

Its weights are made by `python -m bots.moderation.train_toxicity`, which also measures it. It knows constructed English
sentences and is no judge of real ones: a classifier of the hub is (docs/moderation.md).
"""

from __future__ import annotations

import json
import math
import zlib
from array import array
from functools import cache
from pathlib import Path

from bots.moderation.words import plain, words

FOLDER = Path(__file__).parent
WEIGHTS, FACTS = FOLDER / "toxicity_weights.bin", FOLDER / "toxicity_weights.json"
BUCKETS = 1 << 15
LONGEST = 2000
"""Characters of a text that are looked at."""


def features(text: str) -> set[int]:
    """The buckets of a text's words, pairs of neighbouring words, and runs of four letters within words."""
    tokens = words(plain(text[:LONGEST]))
    found = [f"w {token}" for token in tokens]
    found += [f"p {first} {second}" for first, second in zip(["^", *tokens], [*tokens, "$"], strict=True)]
    for token in tokens:
        marked = f"<{token}>"
        found += [f"c {marked[start : start + 4]}" for start in range(max(1, len(marked) - 3))]
    return {zlib.crc32(name.encode()) % BUCKETS for name in found}


def probability(text: str) -> float:
    """P(hostile) = σ(bias + Σ w_b / √n) over the n buckets of the text; 0 for a text without words."""
    buckets = features(text)
    if len(buckets) < 2:  # nothing but the two ends
        return 0.0
    weights, scale, bias = _model()
    return 1 / (1 + math.exp(-(bias + scale * sum(weights[bucket] for bucket in buckets) / math.sqrt(len(buckets)))))


@cache
def _model() -> tuple[array[int], float, float]:
    """Weights as whole numbers from −127 to 127, what one of them is worth, and the bias."""
    facts = json.loads(FACTS.read_text())
    weights = array("b", WEIGHTS.read_bytes())
    return weights, float(facts["scale"]), float(facts["bias"])
