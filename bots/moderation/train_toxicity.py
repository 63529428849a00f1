"""Train and measure the built-in toxicity classifier: `python -m bots.moderation.train_toxicity`.

Logistic regression with an L2 penalty, by full-batch gradient steps with Adam (Kingma & Ba 2015). It learns from
constructed sentences and from headlines of the demo's posts, which count as harmless. What is kept beside the weights
is measured on families of sentences and words that it did not learn from, and on other headlines.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bots import toxicity
from bots.moderation.toxicity_classifier import BUCKETS, FACTS, WEIGHTS, _model, features, probability
from bots.moderation.toxicity_sentences import LEARN, MEASURE, sentences

HEADLINES = Path(__file__).parents[2] / "training" / "demo" / "posts.csv"
LEARNED_HEADLINES, MEASURED_HEADLINES = 1000, 2000
STEPS, RATE, PENALTY = 400, 0.05, 1e-5
"""The penalty is the one of 1e-5, 1e-6 and 1e-7 that did best on learning families left out in turn."""
THRESHOLDS = (0.1, 0.2, 0.5, 0.8)
Floats = NDArray[np.float64]


def train(texts: Sequence[str], hostile: Sequence[bool]) -> tuple[Floats, float]:
    """Weights (BUCKETS,) and the bias. Both classes weigh the same, whatever their numbers."""
    found = [sorted(features(text)) for text in texts]
    rows = np.repeat(np.arange(len(found)), [len(buckets) for buckets in found])
    columns = np.concatenate([np.array(buckets) for buckets in found])
    values = 1 / np.sqrt(np.bincount(rows))[rows]
    wanted = np.array(hostile, float)
    weight = np.where(wanted == 1, 0.5 / wanted.mean(), 0.5 / (1 - wanted.mean())) / len(wanted)
    parameters, first, second = (np.zeros(BUCKETS + 1) for _ in range(3))
    for step in range(1, STEPS + 1):
        logits = np.bincount(rows, parameters[columns] * values, len(found)) + parameters[-1]
        error = weight * (1 / (1 + np.exp(-logits)) - wanted)
        gradient = np.append(np.bincount(columns, error[rows] * values, BUCKETS), error.sum())
        gradient[:-1] += PENALTY * parameters[:-1]
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        parameters -= RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return parameters[:-1], float(parameters[-1])


def keep(weights: Floats, bias: float) -> None:
    """Write the weights as one byte each."""
    scale = float(np.abs(weights).max() / 127)
    WEIGHTS.write_bytes(np.round(weights / scale).astype(np.int8).tobytes())
    FACTS.write_text(json.dumps({"scale": scale, "bias": bias}))
    _model.cache_clear()


def auc(scores: Sequence[float], hostile: Sequence[bool]) -> float:
    """The share of pairs of a hostile and a harmless text in which the hostile one scores more; ties count half."""
    high = np.array([score for score, is_hostile in zip(scores, hostile, strict=True) if is_hostile])
    low = np.array([score for score, is_hostile in zip(scores, hostile, strict=True) if not is_hostile])
    difference = high[:, None] - low[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def measured(judge: Callable[[str], float], threshold: float) -> dict[str, float]:
    """AUC, and precision and recall at the threshold, on what nothing was learned from; and the share of other
    headlines at or over it.
    """
    texts, hostile = zip(*sentences(MEASURE), strict=True)
    scores = [judge(text) for text in texts]
    hits = [score >= threshold for score in scores]
    right = sum(hit and is_hostile for hit, is_hostile in zip(hits, hostile, strict=True))
    wrong = [judge(text) >= threshold for text in headlines()[LEARNED_HEADLINES:]]
    return {
        "threshold": threshold,
        "auc": round(auc(scores, hostile), 3),
        "precision": round(right / max(1, sum(hits)), 3),
        "recall": round(right / sum(hostile), 3),
        "headlines": round(sum(wrong) / len(wrong), 4),
    }


def headlines() -> list[str]:
    """Headlines of the demo, those to learn from first."""
    with HEADLINES.open(newline="", encoding="utf-8") as file:
        found = [row["text"] for row in csv.DictReader(file)]
    return found[: LEARNED_HEADLINES + MEASURED_HEADLINES]


def main() -> None:
    learned = sentences(LEARN) + [(text, False) for text in headlines()[:LEARNED_HEADLINES]]
    keep(*train([text for text, _ in learned], [hostile for _, hostile in learned]))
    facts = json.loads(FACTS.read_text())
    judges = {"classifier": probability, "words": toxicity.lexicon, "both": toxicity.heard}
    facts["measured"] = {name: [measured(judge, at) for at in THRESHOLDS] for name, judge in judges.items()}
    facts["sentences"] = {"learned": len(sentences(LEARN)), "measured": len(sentences(MEASURE))}
    FACTS.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
