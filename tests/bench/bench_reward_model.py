"""Rank correlation of the reward model with the truth on newer posts, against TF-IDF ridge and gradient boosting.

64, 256 and 1,024 scored posts, 200, 40 and 10 draws of them; the worst ratio to the best peer counts, and must be above
1. Intervals of 50, 80 and 95 %, their width set by the errors of the predictions before each, must hold as often as
they say, within 5 points. Rewards are the sandbox audience's noisy likes, the truth its expectation; correlations with
real scores go to the standard error. A text says little of those, and two draws of 64 differ by more than two methods
do: hence so many draws, and beside each mean its standard error over the draws, of the reward model's lead over every
peer on the same draws, too. Each peer is compared by itself: the best of several, chosen afterwards, looks better than
it is.

KILROY_BENCH_SKLEARN_PYTHON names a Python that has scikit-learn for the peers, KILROY_BENCH_SCORED_POSTS another CSV of
posts (text, score, community or subreddit, created_at).
"""

from __future__ import annotations

import json
import math
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
from training.engine.round_types import REWARD_MODEL_LABELS

DRAWS = {64: 200, 256: 40, 1024: 10}
"""How many draws of each number of scored posts."""
FEWER_DRAWS = 10
"""For the neural ensemble and the intervals."""
DEFAULT = "bayesian_linear"
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
    for size, count in DRAWS.items():
        draws = [np.sort(np.random.default_rng([seed, size]).choice(world.older, size, False)) for seed in range(count)]
        found, shares = _correlations(world, draws)
        for label, values in found.items():
            lead = "" if label in REWARD_MODEL_LABELS else f", {DEFAULT} leads by {_mean(found[DEFAULT] - values)}"
            print(f"{name}, {size} scores, {label}: {_mean(values)}{lead}", file=sys.stderr)
        held |= {f"{level} at {size}": share for level, share in shares.items()}
        ours[size] = float(found[DEFAULT].mean())
        peers[size] = max((float(v.mean()) for k, v in found.items() if k not in REWARD_MODEL_LABELS), default=None)
    covered = {name: statistics.fmean(shares) for name, shares in held.items()}
    print(f"{name}, coverage: {json.dumps({k: round(v, 3) for k, v in covered.items()})}", file=sys.stderr)
    return ours, peers, covered


def _mean(values: FloatArray) -> str:
    """The mean over the draws with its standard error."""
    return f"{values.mean():+.4f} ± {values.std(ddof=1) / math.sqrt(len(values)):.4f}"


def _correlations(world: World, draws: Sequence[Any]) -> tuple[dict[str, FloatArray], dict[str, list[float]]]:
    """Each method's rank correlation with the truth (draws,), and what the default's intervals hold of the rewards."""
    truth = world.truth[world.older :]
    found: dict[str, list[float]] = {}
    for label in REWARD_MODEL_LABELS:
        for rows in draws if label == DEFAULT else draws[:FEWER_DRAWS]:
            fitted = registry.fit(label, world.columns[rows], _units(world.rewards, rows)[rows], world.prior)
            mean, _ = fitted.predict(world.columns[world.older :])
            found.setdefault(label, []).append(rank_correlation(mean, truth))
    for predictions in _peers(world, draws):
        for label, values in predictions.items():
            found.setdefault(label, []).append(rank_correlation(values, truth))
    held: dict[str, list[float]] = {}
    for rows in draws[:FEWER_DRAWS]:
        for level, share in _coverage(world, rows).items():
            held.setdefault(level, []).append(share)
    return {label: np.array(values) for label, values in found.items()}, held


def _units(rewards: FloatArray, rows: Any) -> FloatArray:
    """All rewards in units of those that are known, which are within three of them."""
    known = rewards[rows]
    units = (rewards - np.median(known)) / (float(known.std()) or 1.0)
    units[rows] = np.clip(units[rows], -3.0, 3.0)
    return np.asarray(units)


def _coverage(world: World, rows: Any) -> dict[str, float]:
    """The share of the newest posts' rewards that lies within the default's intervals."""
    rewards = _units(world.rewards, rows)
    fitted = registry.fit(DEFAULT, world.columns[rows], rewards[rows], world.prior)
    mean, sd = fitted.predict(world.columns[world.older :])
    before = calibration.standard_errors(DEFAULT, world.columns[rows], rewards[rows], world.prior)
    errors = (rewards[world.older :] - mean) / np.sqrt(sd**2 + fitted.noise)
    widths = calibration.running_multipliers(np.concatenate([before, errors]), len(before))
    return calibration.coverage(errors, widths)


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
