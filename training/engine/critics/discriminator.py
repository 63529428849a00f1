"""Real or generated? Trained for every fine-tuned version, on posts it has not learned from and on its own samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.engine.critics import calibration, classifier, splits
from training.engine.critics.classifier import Classifier
from training.engine.critics.reading import Reading, read
from training.engine.features import FloatArray
from training.engine.models.causal import CausalLanguageModel
from training.engine.reward_model import rank_correlation
from training.engine.types import Conditions, Prompt, RatedPost, SamplingParams

FILE = "discriminator.safetensors"
FEWEST = 60
MOST = 500
MAX_CALIBRATION_ERROR = 0.1
MIN_AUC = 0.6
MIN_JUDGED = 80
_JUDGED = 0.4
_MEAN_LOGPROB = 0
"""Where in a reading's numbers the mean log-probability of a token stands."""


def train(
    model: CausalLanguageModel, real: Sequence[RatedPost], temperature: float, max_new_tokens: int, seed: int
) -> tuple[Classifier | None, dict[str, Any]]:
    """A discriminator and its figures, from `real` posts in order of time that the model has not learned from.

    The newest two fifths judge it, less what shares an author or a thread with the rest. It may reject only where its
    probabilities are borne out there. "auc_author" is that of another one, on authors that it has nothing of. None, and
    why, when there are too few posts.
    """
    posts = list(real)[-MOST:]
    split = splits.newest(posts, _JUDGED)
    if len(split.train) < FEWEST or len(split.judge) < FEWEST // 2:
        return None, {
            "trained": False,
            "reason": f"{len(posts)} real posts were held out; at least {round(FEWEST / (1 - _JUDGED))} by different "
            "authors are needed.",
        }
    samples = _samples(model, posts, temperature, max_new_tokens, seed)
    contexts = [post.conditions.context for post in posts]
    truly, drawn = read(model, [post.text for post in posts], contexts), read(model, samples, contexts)
    fitted = classifier.fit(*_pairs(truly, drawn, split.train), 2, seed)
    reading, labels = _pairs(truly, drawn, split.judge)
    figures = judge(fitted.probabilities(reading)[:, 1], labels, reading.numbers[:, _MEAN_LOGPROB])
    return fitted, figures | {"auc_author": _by_author(truly, drawn, posts, seed)}


def _by_author(truly: Reading, drawn: Reading, posts: Sequence[RatedPost], seed: int) -> float | None:
    split = splits.other_authors(posts, _JUDGED, seed)
    if len(split.train) < FEWEST // 2 or len(split.judge) < FEWEST // 2:
        return None
    fitted = classifier.fit(*_pairs(truly, drawn, split.train), 2, seed)
    reading, labels = _pairs(truly, drawn, split.judge)
    return calibration.area_under_curve(fitted.probabilities(reading)[:, 1], labels)


def judge(probabilities: FloatArray, labels: FloatArray, fluency: FloatArray) -> dict[str, Any]:
    """Figures of P(real) (n,) against `labels` (1: real), and their rank correlation with the mean log-probability."""
    auc = calibration.area_under_curve(probabilities, labels)
    error = calibration.calibration_error(probabilities, labels)
    calibrated = len(labels) >= MIN_JUDGED and error <= MAX_CALIBRATION_ERROR
    return {
        "trained": True,
        "auc": auc if math.isfinite(auc) else None,
        "accuracy": float(((probabilities > 0.5) == (labels > 0.5)).mean()),
        "calibration_error": error,
        "calibrated": calibrated,
        "may_reject": bool(calibrated and auc >= MIN_AUC),
        "fluency_correlation": rank_correlation(probabilities, fluency),
        "deciles": calibration.by_decile(probabilities, np.asarray(labels, dtype=np.float64)),
        "judged": len(labels),
    }


def _samples(
    model: CausalLanguageModel, posts: Sequence[RatedPost], temperature: float, max_new_tokens: int, seed: int
) -> list[str]:
    """One sample for each post, in answer to the same context where the model reads contexts."""
    from training.engine.conditioning import known

    reads = "context" in known(model.tokenizer)
    params = SamplingParams(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    prompts = [Prompt(conditions=Conditions(context=post.conditions.context if reads else "")) for post in posts]
    return [sample.text for sample in model.generate(prompts, params)]


def _pairs(truly: Reading, drawn: Reading, places: Any) -> tuple[Reading, Any]:
    """Real and generated side by side, so that every stretch of rows holds as many of either."""
    first, second = truly.rows(places), drawn.rows(places)
    states = np.stack([first.states, second.states], axis=1).reshape(-1, *first.states.shape[1:])
    numbers = np.stack([first.numbers, second.numbers], axis=1).reshape(-1, first.numbers.shape[1])
    return Reading(states, numbers), np.tile([1, 0], len(places))


def load(folder: Path) -> tuple[Classifier, dict[str, Any]] | None:
    """The discriminator kept beside a model's weights with its figures, if there is one. Raises CorruptWeights."""
    try:
        return Classifier.load(folder / FILE)
    except FileNotFoundError:
        return None
