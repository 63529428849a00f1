"""What is thought of texts that a version drew: the expected reward, whether they pass for a person's, and how much of
the training texts is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training import artifacts, configs, history
from training.artifacts import ArtifactError
from training.engine.round_types import RoundInput
from training.models import ModelVersion, Run
from training.services import ahead
from training.services.engine import Engine, EngineError

NO_DISCRIMINATOR = "There is no realism discriminator for this version: a fine-tuning run trains one."
UNRELIABLE = "The realism discriminator of this version is not reliable: take its word with caution."
NO_REWARDS = (
    "There is no reward model yet for what this version comes from: it begins with the first round of online learning."
)
NO_REWARD_MODEL = "The algorithm of this bot's online learning uses no reward model: nothing is predicted."


def scores(version: ModelVersion, texts: Sequence[str], engine: Engine) -> list[dict[str, Any]]:
    """For each text "realism", "predicted", "predicted_sd", "nearest_text" and "shared_run", as far as they are known,
    and in "notes" why something is not. Never fails: what the engine objects to is a note.

    One critic judges the texts of all versions of a lineage: that of the fine-tuned version it began with.
    """
    origin = history.origin_of(version)
    try:
        folder = artifacts.local_folder(origin.folder, origin.checksum)
        given = _round_of(origin, folder)
        found = engine.judge(folder, texts, given)
        compared = ahead.compared(version, texts, engine)
    except (EngineError, ArtifactError) as error:
        return [{"notes": [str(error)]} for _ in texts]
    return [
        {**known, **near, "notes": _notes(origin, known, given)} for known, near in zip(found, compared, strict=True)
    ]


def _notes(origin: ModelVersion, known: dict[str, float], given: RoundInput | None) -> list[str]:
    figures, notes = origin.report.get("discriminator", {}), []
    if "realism" not in known:
        notes.append(figures.get("reason") or NO_DISCRIMINATOR)
    elif not figures.get("may_reject", True):
        notes.append(UNRELIABLE)
    if "predicted" not in known:
        notes.append(NO_REWARDS if given is None else NO_REWARD_MODEL)
    return notes


def _round_of(origin: ModelVersion, folder: Path) -> RoundInput | None:
    """What a round of the newest online run of this lineage would be told of rewards; None before its first round,
    whose reward model is costly to make.
    """
    played = Run.objects.filter(bot=origin.bot_id, kind=Run.Kind.ONLINE, rounds__number=0).select_related("bot")
    for run in played.select_related("start_version").order_by("-created_at"):
        assert run.start_version is not None  # the database's check: online runs have one
        if history.origin_of(run.start_version).pk == origin.pk:
            return RoundInput(
                number=0,
                policy=folder,
                reference=folder,
                workdir=artifacts.work_folder("rounds", run.pk),
                history=history.historic_posts(run),
                scored=history.scored_posts(run.bot),
                published_texts=(),
                learning_posts=0,
                baseline_posts=0,
                config=configs.online(run.config).engine(),
                seed=0,
            )
    return None
