"""What people try out: one prompt before several versions, and a text that is worth a post."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.doorbell import ring
from bots.models import Bot, Post
from bots.services.posts import Draft, propose_posts
from training.models import Generation, ModelVersion
from training.services import generations

MOST_VERSIONS = 8
KEPT = ("predicted", "predicted_sd", "realism", "nearest_text", "shared_run")
"""Of a text's scores, what the provenance of its post keeps."""


@transaction.atomic
def compare_versions(
    bot: Bot,
    *,
    versions: Sequence[ModelVersion],
    prompt: str = "",
    count: int = 1,
    params: dict[str, Any] | None = None,
) -> list[Generation]:
    """Ask several versions for texts with one prompt, one seed and the same settings: a request each, in the order of
    their numbers, that share a `group`. Raises ValidationError.
    """
    if not 2 <= len({version.pk for version in versions}) <= MOST_VERSIONS:
        raise ValidationError({"versions": f"Choose 2 to {MOST_VERSIONS} different versions to compare."})
    group, asked = uuid4(), []
    for version in sorted(set(versions), key=lambda each: each.number):
        asked.append(generations.ask(bot, prompt, count, params, version, group=group))
        params = dict(asked[0].params)  # with the seed that the first one drew
    for generation in asked:
        ring(generations.ANSWER, bot.organization_id, generation.pk)
    return asked


@transaction.atomic
def propose_text(generation_id: UUID | str, index: int) -> Post:
    """Propose a drawn text as a post, with where it comes from. It goes through the rules and the approval policy;
    since a person chose it, it is not compared with the baseline. Raises ValidationError when there is no such text,
    and for one that could never be a post.
    """
    generation = Generation.objects.select_related("bot__connection", "version").get(pk=generation_id)
    if generation.state != Generation.State.DONE or not 0 <= index < len(generation.samples):
        raise ValidationError({"index": "There is no such text: its request has fewer, or is not answered yet."})
    sample, version = generation.samples[index], generation.version
    assert version is not None  # a request without a version is never answered
    found = sample.get("scores", {})
    provenance = {
        "generation": str(generation.pk),
        "version": version.number,
        "prompt": generation.prompt,
        "sampling": {name: value for name, value in generation.params.items() if name != generations.SCORES},
        "logprob": sample["logprob"],
    }
    draft = Draft(
        text=(generation.prompt + sample["text"]).strip(),
        model_version_id=version.pk,
        provenance=provenance | {name: found[name] for name in KEPT if name in found},
    )
    (post,) = propose_posts(generation.bot, [draft])
    return post
