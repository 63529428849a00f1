"""Rank correlation of the reward model with the truth on newer posts, against TF-IDF ridge and gradient boosting.

64, 256 and 1,024 scored posts, five draws each; the worst ratio to the best peer counts, and must be above 1. Intervals
of 50, 80 and 95 %, their width set by the errors of the predictions before each, must hold as often as they say, within
5 points. Rewards are the sandbox audience's noisy likes, the
truth its expectation; correlations with real scores, about which a text says little, go to the standard error.
KILROY_BENCH_SKLEARN_PYTHON names a Python that has scikit-learn for the peers, KILROY_BENCH_SCORED_POSTS another CSV of
posts (text, score, community or subreddit, created_at).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from faces.kinds.sandbox import fit as sandbox_fit
from faces.kinds.sandbox.audience import Audience
from faces.kinds.sandbox.reactions import Moment, reactions
from kilroy_site.config import BASE_DIR
from tests.bench.measurement import Measurement
from training.engine.basis import Basis, Opinion
from training.engine.critics import calibration, registry
from training.engine.encoding import encode
from training.engine.features import FeatureSpace, FloatArray
from training.engine.models.causal import CausalLanguageModel
from training.engine.reward_model import rank_correlation
from training.engine.types import REWARD_MODEL_LABELS

SIZES = (64, 256, 1024)
DRAWS = 5
NEWEST = 1000
OLDER = 3000
FOLLOWERS = 2000.0
EVERYTHING = 1440.0 * 30
TOLERANCE = 0.05
SKLEARN = "KILROY_BENCH_SKLEARN_PYTHON"
POSTS = "KILROY_BENCH_SCORED_POSTS"


@dataclass(frozen=True)
class World:
    """Posts in order of time, the newest to be judged: columns and prior of the reward model, the truth and one noisy
    reward of each.
    """

    texts: list[str]
    columns: FloatArray
    prior: Any
    truth: FloatArray
    rewards: FloatArray
    older: int


def run() -> Measurement:
    """The worst size. Each size and method goes to the standard error."""
    posts = _posts()
    columns, prior = _columns([post.text for post in posts])
    texts = [post.text for post in posts]
    older = len(posts) - NEWEST
    expected = Audience.load().expected(texts)
    simulated = World(texts, columns, prior, expected, _likes(expected), older)
    scores = sandbox_fit.target(posts)
    real = World(texts, columns, prior, scores, scores, older)
    _compare("real scores", real)
    return _judged(*_compare("simulated audience", simulated))


def _posts() -> list[sandbox_fit.RealPost]:
    path = Path(os.environ.get(POSTS) or BASE_DIR / "training" / "demo" / "posts.csv")
    posts = sorted(sandbox_fit.read_posts(path), key=lambda post: post.created_at)
    return posts[-OLDER - NEWEST :]


def _columns(texts: Sequence[str]) -> tuple[FloatArray, Any]:
    """Of a feature space that has seen the older texts alone, none of their scores."""
    older = len(texts) - NEWEST
    model = CausalLanguageModel.load("starter")
    known = texts[:older]
    space = FeatureSpace.fit(known, encode(model, known), slice(0, older), 0)
    basis = Basis(space, Opinion.silent(space.width), Opinion.silent(space.width), ())
    return basis.columns(texts, encode(model, texts)), basis.prior()


def _likes(expected: FloatArray) -> FloatArray:
    """log1p of the likes a post of the sandbox ends with."""
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    counts = [
        reactions(1, f"post {place}", Moment(float(value), FOLLOWERS, at), EVERYTHING)["likes"]
        for place, value in enumerate(expected)
    ]
    return np.log1p(np.array(counts, dtype=np.float64))


def _compare(name: str, world: World) -> tuple[dict[int, float], dict[int, float | None], dict[str, float]]:
    """By size: the default reward model's mean rank correlation and the best peer's; and the mean coverage."""
    ours: dict[int, float] = {}
    peers: dict[int, float | None] = {}
    held: dict[str, list[float]] = {}
    truth = world.truth[world.older :]
    for size in SIZES:
        draws = [np.sort(np.random.default_rng([seed, size]).choice(world.older, size, False)) for seed in range(DRAWS)]
        found: dict[str, list[float]] = {}
        for label in REWARD_MODEL_LABELS:
            for rows in draws:
                mean, coverage = _ours(label, world, rows)
                found.setdefault(label, []).append(rank_correlation(mean, truth))
                if label == "bayesian_linear":
                    for level, share in coverage.items():
                        held.setdefault(f"{level} at {size}", []).append(share)
        for predictions in _peers(world, draws):
            for label, values in predictions.items():
                found.setdefault(label, []).append(rank_correlation(values, truth))
        for label, values in found.items():
            mean, spread = statistics.fmean(values), statistics.stdev(values)
            print(f"{name}, {size} scores, {label}: {mean:.3f} ± {spread:.3f}", file=sys.stderr)
        ours[size] = statistics.fmean(found["bayesian_linear"])
        peers[size] = max((statistics.fmean(v) for k, v in found.items() if k not in REWARD_MODEL_LABELS), default=None)
    covered = {name: statistics.fmean(shares) for name, shares in held.items()}
    print(f"{name}, coverage: {json.dumps({k: round(v, 3) for k, v in covered.items()})}", file=sys.stderr)
    return ours, peers, covered


def _ours(label: str, world: World, rows: Any) -> tuple[FloatArray, dict[str, float]]:
    """Predictions for the newest posts, and the share of their rewards that lies within the intervals."""
    known = world.rewards[rows]
    centre, unit = float(np.median(known)), float(known.std()) or 1.0
    targets = np.clip((known - centre) / unit, -3.0, 3.0)
    fitted = registry.fit(label, world.columns[rows], targets, world.prior)
    mean, sd = fitted.predict(world.columns[world.older :])
    before = calibration.standard_errors(label, world.columns[rows], targets, world.prior)
    errors = ((world.rewards[world.older :] - centre) / unit - mean) / np.sqrt(sd**2 + fitted.noise)
    widths = calibration.running_multipliers(np.concatenate([before, errors]), len(before))
    return mean, calibration.coverage(errors, widths)


def _peers(world: World, draws: Sequence[Any]) -> list[dict[str, list[float]]]:
    python = os.environ.get(SKLEARN)
    if not python:
        return []
    tasks = [
        {
            "texts": [world.texts[row] for row in rows],
            "rewards": world.rewards[rows].tolist(),
            "new": world.texts[world.older :],
        }
        for rows in draws
    ]
    program = Path(__file__).with_name("sklearn_peers.py")
    done = subprocess.run([python, program], input=json.dumps(tasks), stdout=subprocess.PIPE, text=True, check=True)
    answer: list[dict[str, list[float]]] = json.loads(done.stdout)
    return answer


def _judged(ours: dict[int, float], peers: dict[int, float | None], covered: dict[str, float]) -> Measurement:
    broken = [
        f"the interval {name} holds for {share:.1%}"
        for name, share in covered.items()
        if abs(share - float(name.split("%")[0]) / 100) > TOLERANCE
    ]
    measured = {size: value for size, value in peers.items() if value is not None}
    if not measured:
        broken.append(f"the peers are not measured: {SKLEARN} must name a Python that has scikit-learn")
        return Measurement(ours=min(ours.values()), goal=1.0, better="higher", broken=tuple(broken))
    worst = min(measured, key=lambda size: ours[size] / measured[size])
    return Measurement(ours[worst], goal=1.0, better="higher", peer=measured[worst], broken=tuple(broken))
