"""Requests for texts: a row per request, answered by a training worker."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, clock
from accounts.doorbell import ring
from bots.models import Bot
from training import artifacts, configs
from training.artifacts import ArtifactError
from training.models import Generation, ModelVersion
from training.services import versions
from training.services.engine import Engine, EngineError

MOST_AT_ONCE = 64
ANSWER = "training.tasks.gpu_answer_generation"


@transaction.atomic
def request_generation(
    bot: Bot,
    *,
    prompt: str = "",
    count: int = 1,
    params: dict[str, Any] | None = None,
    version: ModelVersion | None = None,
) -> Generation:
    """Ask for `count` texts from a version (the current one unless given). Raises ValidationError."""
    version = version or versions.current_version(bot)
    if version is None:
        raise ValidationError("This bot has no model yet: fine-tune one first.")
    if version.bot_id != bot.pk:
        raise ValidationError({"version": "Choose a model version of this bot."})
    if not 1 <= count <= MOST_AT_ONCE:
        raise ValidationError({"n": f"Between 1 and {MOST_AT_ONCE} texts can be asked for at once."})
    if len(prompt) > 1000 or "\0" in prompt:
        raise ValidationError({"prompt": "A prompt has at most 1,000 characters, none of them NUL."})
    params = {"seed": secrets.randbelow(2**31), **(params or {})}  # kept, so that the answer can be had again
    configs.sampling(params)
    generation: Generation = Generation.objects.create(
        bot=bot, version=version, prompt=prompt, count=count, params=params
    )
    audit.record("generation.request", generation, after={"prompt": prompt, "n": count, **params})
    ring(ANSWER, generation.organization_id, generation.pk)
    return generation


def answer_generation(generation_id: UUID | str, engine: Engine) -> None:
    """Draw the texts that a request asks for. Answering twice gives the same texts: the seed is part of the request."""
    generation = Generation.objects.select_related("version", "bot__connection").get(pk=generation_id)
    if generation.state != Generation.State.QUEUED or generation.version is None:
        return
    fields: dict[str, Any]
    try:
        samples = engine.generate(
            artifacts.local_folder(generation.version.folder, generation.version.checksum),
            [generation.prompt] * generation.count,
            configs.sampling(generation.params),
        )
    except (EngineError, ArtifactError) as error:
        fields = {"state": Generation.State.FAILED, "error": str(error)[:500]}
    else:
        rows = [{"text": s.text, "logprob": s.logprob, "ended": s.ended, "tokens": len(s.token_ids)} for s in samples]
        fields = {"state": Generation.State.DONE, "samples": rows}
    Generation.objects.filter(pk=generation.pk, state=Generation.State.QUEUED).update(finished_at=clock.now(), **fields)
