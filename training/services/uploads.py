"""Models that people bring along."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from bots.models import Bot
from training import model_archive
from training.models import Generation, ModelVersion
from training.services import generations, versions

FIRST_TOKENS = 16


def upload_version(bot: Bot, file: UploadedFile[Any], base: str = "uploaded") -> tuple[ModelVersion, Generation]:
    """Make a version of a zipped model folder, which is not yet current, and ask for a first text: a training worker
    draws it, or says in its row why the model does not load. Raises ValidationError for what is no harmless model.
    """
    if (file.size or 0) > model_archive.MOST_BYTES:
        raise model_archive.refused(f"The file is larger than {model_archive.MOST_BYTES:,} bytes.")
    work = Path(settings.VAR) / "work"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="upload-", dir=work) as aside:
        folder = Path(aside)
        model_archive.unpack(cast(BinaryIO, file), folder)
        version = versions.create_version(
            bot,
            folder,
            kind=ModelVersion.Kind.UPLOADED,
            run=None,
            parent=None,
            base=base,
            metrics={},
        )
    first_text = generations.request_generation(bot, version=version, params={"max_new_tokens": FIRST_TOKENS})
    return version, first_text
