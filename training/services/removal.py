"""What learning holds against deleting a bot, and keeps of it outside of the database."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from bots.models import Bot
from training import artifacts
from training.models import Dataset, ModelVersion, Run


def obstacle(bot: Bot) -> str:
    """Why the bot cannot be deleted now; "" when nothing keeps it."""
    if living := Run.objects.filter(bot=bot, state__in=Run.LIVING).first():
        return f"A run of {bot} is under way ({living.get_kind_display().lower()}): stop it first."
    if Dataset.objects.select_for_update(of=("self",)).filter(bot=bot, state=Dataset.State.IMPORTING).exists():
        return f"A dataset of {bot} is being imported: wait until that is over."
    return ""


def leftovers(bot: Bot) -> Callable[[], None]:
    """Removes the folders of the bot's model versions, and what its runs left on this machine."""
    folders = list(ModelVersion.objects.filter(bot=bot).values_list("folder", flat=True))
    runs = [str(pk) for pk in Run.objects.filter(bot=bot).values_list("pk", flat=True)]

    def remove() -> None:
        for folder in folders:
            artifacts.remove_folder(folder)
        for kind in ("finetune", "rounds"):
            for run in runs:
                shutil.rmtree(Path(settings.VAR) / "work" / kind / run, ignore_errors=True)

    return remove
