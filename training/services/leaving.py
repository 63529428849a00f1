"""What an organization's end removes of learning, and what stays on record of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings

from accounts.leaving import remove_folder
from accounts.tenancy import active
from bots.models import Bot
from training.models import ModelVersion
from training.services.removal import leftovers


def remove_learning() -> dict[str, Any]:
    """Remove the weights of the active organization's models and what its runs left on this machine. Returns which
    versions were trained on its data: whoever kept a copy of one knows it by the SHA-256 of its weights.
    """
    versions = list(map(_facts, ModelVersion.objects.prefetch_related("run__sources").order_by("created_at")))
    for bot in Bot.objects.all():
        leftovers(bot)()
    everything = f"models/{active()}"
    remove_folder(everything)
    shutil.rmtree(Path(settings.VAR) / "cache" / "artifacts" / everything, ignore_errors=True)
    return {"model_versions": versions}


def _facts(version: ModelVersion) -> dict[str, Any]:
    run = version.run
    return {
        "id": str(version.pk),
        "bot": str(version.bot_id),
        "number": version.number,
        "kind": version.kind,
        "base": version.base,
        "sha256": version.checksum,
        "created_at": version.created_at.isoformat(),
        "datasets": [str(source.dataset_id) for source in run.sources.all()] if run else [],
    }
