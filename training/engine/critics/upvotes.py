"""How a reply will be received, in Stedden's four classes of upvotes: below 1, 1, 2–4, 5 and more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.critics import calibration, classifier, splits
from training.engine.critics.classifier import Classifier
from training.engine.critics.reading import Reading, read
from training.engine.features import FloatArray
from training.engine.models.causal import CausalLanguageModel
from training.engine.types import FEWEST_RATED_REPLIES, UPVOTE_BOUNDS, RatedPost

FILE = "upvotes.safetensors"
BOUNDS = UPVOTE_BOUNDS
CLASSES = ("below 1", "1", "2–4", "5 and more")
FEWEST = FEWEST_RATED_REPLIES
MOST = 3000
_JUDGED = 0.25


def class_of(score: float) -> int:
    """0 below one upvote, 1 for one, 2 for two to four, 3 from five on."""
    return sum(score >= bound for bound in BOUNDS)


def expected_class(probabilities: FloatArray) -> FloatArray:
    """p₁ + 2 p₂ + 3 p₃ (n,) of probabilities (n, 4)."""
    return probabilities @ np.arange(len(CLASSES), dtype=np.float64)


def macro_auc(probabilities: FloatArray, labels: NDArray[np.int64]) -> float | None:
    """Mean of each class's area under the curve against the others; classes that nobody or everybody is in are left
    out.
    """
    areas = [calibration.area_under_curve(probabilities[:, each], labels == each) for each in range(len(CLASSES))]
    known = [area for area in areas if math.isfinite(area)]
    return sum(known) / len(known) if known else None


def train(
    model: CausalLanguageModel, posts: Sequence[RatedPost], seed: int
) -> tuple[Classifier | None, dict[str, Any]]:
    """A four-class model and its figures, from real posts in order of time; those without a score count for nothing.

    `macro_auc` has the split in its names: the newest quarter, and authors kept out; neither shares an author or a
    thread with what was learned from, and `…_on` says of what posts it is. The model returned has learned from all of
    them. None, and why, when there are too few or all are in one class.
    """
    scored = [post for post in posts if post.score is not None and math.isfinite(post.score)][-MOST:]
    labels = np.array([class_of(post.score or 0.0) for post in scored], dtype=np.int64)
    if len(scored) < FEWEST or len(set(labels.tolist())) < 2:
        return None, {
            "trained": False,
            "reason": f"{len(scored)} posts have a score, in {len(set(labels.tolist()))} classes of upvotes; at least "
            f"{FEWEST} posts in two classes are needed.",
        }
    reading = read(model, [post.text for post in scored], [post.conditions.context for post in scored])
    report: dict[str, Any] = {
        "trained": True,
        "posts": len(scored),
        "classes": np.bincount(labels, minlength=4).tolist(),
    }
    for name, split in (
        ("time", splits.newest(scored, _JUDGED, FEWEST // 8)),
        ("author", splits.other_authors(scored, _JUDGED, seed, FEWEST // 8)),
    ):
        report[f"macro_auc_{name}"] = area = _judged(reading, labels, split, seed)
        if area is not None:
            report[f"macro_auc_{name}_on"] = split.judged_on
    return classifier.fit(reading, labels, len(CLASSES), seed), report


def _judged(reading: Reading, labels: NDArray[np.int64], split: splits.Split, seed: int) -> float | None:
    if len(split.train) < FEWEST // 2 or len(split.judge) < FEWEST // 8:
        return None
    fitted = classifier.fit(reading.rows(split.train), labels[split.train], len(CLASSES), seed)
    return macro_auc(fitted.probabilities(reading.rows(split.judge)), labels[split.judge])


def load(folder: Path) -> tuple[Classifier, dict[str, Any]] | None:
    """The four-class model kept beside a model's weights with its figures, if there is one. Raises CorruptWeights."""
    try:
        return Classifier.load(folder / FILE)
    except FileNotFoundError:
        return None
