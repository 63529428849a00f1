"""Every critic of a fine-tuned version, trained and judged in one go, and kept beside its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.engine.basis import Basis, Opinion
from training.engine.critics import calibration, discriminator, registry, splits, upvotes
from training.engine.encoding import encode
from training.engine.features import Encoding, FeatureSpace, FloatArray
from training.engine.models.causal import CausalLanguageModel
from training.engine.reward_model import Prior, rank_correlation
from training.engine.round_types import REWARD_MODEL_LABELS
from training.engine.types import RatedPost

TEMPERATURE, MAX_NEW_TOKENS = 1.0, 64
MOST_SCORED = 1000
FEWEST_SCORED = 100
_JUDGED = 0.2


def train_critics(folder: Path, posts: Sequence[RatedPost], seed: int) -> dict[str, Any]:
    """Train the critics of the model in `folder`, write their files there, and return their figures.

    `posts` are in order of time; the discriminator learns from the unseen ones alone. The report has "discriminator",
    "upvotes" and "reward_model"; each has "trained", and "reason" where it is false. Raises ModelUnavailable or
    CorruptWeights when the folder cannot be used.
    """
    model = CausalLanguageModel.load(str(folder))
    model.network.requires_grad_(False)
    unseen = [post for post in posts if post.unseen]
    realist, figures = discriminator.train(model, unseen, TEMPERATURE, MAX_NEW_TOKENS, seed)
    if realist is not None:
        realist.save(folder / discriminator.FILE, figures)
    report = {"discriminator": figures, "reward_model": reward_figures(model, posts, seed)}
    replies = [post for post in posts if post.conditions.context]
    taster, report["upvotes"] = upvotes.train(model, replies, seed)
    if taster is not None:
        taster.save(folder / upvotes.FILE, report["upvotes"])
    return report


def reward_figures(model: CausalLanguageModel, posts: Sequence[RatedPost], seed: int) -> dict[str, Any]:
    """How well each reward model foretells the reactions in the history, by time and by author.

    Reactions are log1p less the community's mean, standardised; features, communities' means and models come from the
    posts that are learned from. "by_time" and "by_author" hold each model's rank correlation and the coverage of its
    intervals, "by_time_on" and "by_author_on" what posts those are of, "by_time_deciles_…" and "by_author_deciles_…"
    the calibration of the model of that name.
    """
    scored = [post for post in posts if post.score is not None and math.isfinite(post.score)][-MOST_SCORED:]
    if len(scored) < FEWEST_SCORED:
        return {
            "trained": False,
            "reason": f"{len(scored)} past posts have a score; at least {FEWEST_SCORED} are needed to judge by.",
        }
    report: dict[str, Any] = {"trained": True, "posts": len(scored)}
    fewest = FEWEST_SCORED // 5
    parts = {
        "by_time": splits.newest(scored, _JUDGED, fewest),
        "by_author": splits.other_authors(scored, _JUDGED, seed, fewest),
    }
    encoding = encode(model, [post.text for post in scored])
    for name, split in parts.items():
        if len(split.train) >= FEWEST_SCORED // 2 and len(split.judge) >= fewest:
            report |= _judged(name, scored, encoding, split, seed)
    return report


def _judged(
    name: str, posts: Sequence[RatedPost], encoding: Encoding, split: splits.Split, seed: int
) -> dict[str, Any]:
    order, count = [*split.train, *split.judge], len(split.train)
    texts = [posts[place].text for place in order]
    picked = Encoding(encoding.pooled[order], tuple(encoding.logprobs[place] for place in order))
    learned = Encoding(picked.pooled[:count], picked.logprobs[:count])
    space = FeatureSpace.fit(texts[:count], learned, slice(0, count), seed)
    basis = Basis(space, Opinion.silent(space.width), Opinion.silent(space.width), ())
    columns, prior = basis.columns(texts, picked), basis.prior()
    rewards = history_rewards([posts[place] for place in order], count)
    old, new = (columns[:count], rewards[:count]), (columns[count:], rewards[count:])
    found = {model: figures(model, *old, *new, prior) for model in REWARD_MODEL_LABELS}
    deciles = {f"{name}_deciles_{model}": each.pop("deciles") for model, each in found.items()}
    return {name: found, f"{name}_on": split.judged_on, **deciles}


def figures(
    name: str, columns: FloatArray, rewards: FloatArray, new_columns: FloatArray, new_rewards: FloatArray, prior: Prior
) -> dict[str, Any]:
    """How the reward model `name`, fitted to the first rows, foretells the rewards of the new ones."""
    fitted = registry.fit(name, columns, rewards, prior)
    mean, sd = fitted.predict(registry.finite(new_columns))
    errors = (new_rewards - mean) / np.sqrt(sd**2 + fitted.noise)
    before = calibration.standard_errors(name, columns, rewards, prior)
    widths = calibration.running_multipliers(np.concatenate([before, errors]), len(before))
    return {
        "learned_from": len(rewards),
        "judged": len(new_rewards),
        "rank_correlation": rank_correlation(mean, new_rewards),
        **calibration.coverage(errors, widths),
        "deciles": calibration.by_decile(mean, new_rewards),
    }


def history_rewards(posts: Sequence[RatedPost], learned: int) -> FloatArray:
    """log1p of the counts less the community's mean, over the spread, clipped at ±3: means and spread are those of the
    first `learned` posts.
    """
    logs = np.log1p(np.maximum([post.score or 0.0 for post in posts], 0.0))
    communities = np.array([post.conditions.community for post in posts])
    overall = logs[:learned].mean()
    for name in np.unique(communities):
        member = communities == name
        known = member[:learned]
        logs[member] -= logs[:learned][known].mean() if known.any() else overall
    spread = logs[:learned].std()
    return np.clip(logs / spread, -3.0, 3.0) if spread > 0 else np.zeros(len(logs))
