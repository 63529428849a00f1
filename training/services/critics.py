"""Critics of a fine-tuned version: trained with it, kept beside its weights, their figures in its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db.models import F

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
    run: Run, engine: Engine, folder: Path, learned: Sequence[TrainingPost], *heldout: Sequence[TrainingPost]
) -> dict[str, Any]:
    """Train the critics of the model in `folder`, which has `learned` from some posts and not from the others.

    Writes their files there and returns the report of a version. A critic that fails costs the version nothing: its
    entry says why it is missing.
    """
    runs.renew(run)
    try:
        return engine.train_critics(folder, _rated(learned, *heldout), seed=int(run.config.get("seed", 0)))
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


def _rated(learned: Sequence[TrainingPost], *heldout: Sequence[TrainingPost]) -> list[RatedPost]:
    """The newest posts of each kind with their scores, all in order of time: rows without a time stand first, in file
    order, since nobody knows that they are new.
    """
    unseen = {post.key for part in heldout for post in part[-MOST_POSTS:]}
    keys = [*unseen, *(post.key for post in learned[-MOST_POSTS:])]
    rows = (
        Example.objects.filter(pk__in=keys)
        .order_by(F("posted_at").asc(nulls_first=True), "position")
        .values_list("pk", "text", "score", "author", "community", "topic", "context")
    )
    return [
        RatedPost(text, Conditions(author, community, topic, context), score, str(pk) in unseen)
        for pk, text, score, author, community, topic, context in rows
    ]
