"""Critics of a fine-tuned version: trained with it, kept beside its weights, their figures in its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training import artifacts, history
from training.engine.types import Conditions, RatedPost, ReplyRanking, TrainingPost
from training.models import Example, ModelVersion, Run
from training.services import runs
from training.services.engine import Engine, EngineError

MOST_POSTS = 4000
"""How many of the newest posts critics learn from: more would keep the worker from others for too long."""
CANDIDATES = 10
LEAST_REALISM = 0.9


def train(
    run: Run, engine: Engine, folder: Path, learned: Sequence[TrainingPost], heldout: Sequence[TrainingPost]
) -> dict[str, Any]:
    """Train the critics of the model in `folder`, which has `learned` from some posts and not from the others.

    Writes their files there and returns the report of a version. A critic that fails costs the version nothing: its
    entry says why it is missing.
    """
    runs.renew(run)
    try:
        return engine.train_critics(folder, _rated(learned), _rated(heldout), seed=int(run.config.get("seed", 0)))
    except EngineError as error:
        return {"discriminator": {"trained": False, "reason": str(error)}}


def rank_replies(
    version: ModelVersion,
    contexts: Sequence[str],
    engine: Engine,
    seed: int,
    *,
    candidates: int = CANDIDATES,
    least_realism: float = LEAST_REALISM,
) -> list[ReplyRanking]:
    """Candidate replies to each context, ranked by the critics of the fine-tuned version that `version` comes from.

    Raises EngineError, and ArtifactError when a folder is gone or damaged.
    """
    origin = history.origin_of(version)
    return engine.rank_replies(
        artifacts.local_folder(version.folder, version.checksum),
        artifacts.local_folder(origin.folder, origin.checksum),
        contexts,
        candidates=candidates,
        seed=seed,
        least_realism=least_realism,
        training=lambda: history.training_texts(origin),
    )


def _rated(posts: Sequence[TrainingPost]) -> list[RatedPost]:
    """The newest of the posts with their scores, in order of time; rows without a time count in file order."""
    keys = [post.key for post in posts[-MOST_POSTS:]]
    rows = (
        Example.objects.filter(pk__in=keys)
        .order_by("posted_at", "position")
        .values_list("text", "score", "author", "community", "topic", "context")
    )
    return [
        RatedPost(text, Conditions(author, community, topic, context), score)
        for text, score, author, community, topic, context in rows
    ]
