"""Posts written ahead: what a version drew for the queue becomes proposed posts, with where they come from."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q

from accounts import quotas
from accounts.quotas import QuotaExceeded
from bots.services import queue
from bots.services.posts import Draft, check_draft, propose_posts
from bots.states import PostState
from faces.contract import OutgoingPost
from training import history
from training.engine.types import Sample
from training.models import Generation, ModelVersion, Run
from training.services.engine import Engine

LEFT_OUT = "No text was proposed: all were empty, cut off, or blocked by a rule, so no more were drawn."


def drafts(generation: Generation, samples: Sequence[Sample], engine: Engine) -> list[Draft]:
    """The samples that may be proposed, compared with the texts that the version's lineage learned from. Those that are
    empty, were cut off, or that the platform could not take are left out. Raises EngineError.
    """
    version = generation.version
    assert version is not None  # a request without a version is never answered
    kept = [sample for sample in samples if sample.ended and _fits(generation, sample.text.strip())]
    found = compared(version, [sample.text.strip() for sample in kept], engine)
    return [
        Draft(
            text=sample.text.strip(),
            arm="learning",
            model_version_id=version.pk,
            provenance={
                "generation": str(generation.pk),
                "version": version.number,
                "sampling": generation.params,
                "logprob": sample.logprob,
            }
            | near,
        )
        for sample, near in zip(kept, found, strict=True)
    ]


def _fits(generation: Generation, text: str) -> bool:
    try:
        check_draft(generation.bot, OutgoingPost(text))
    except ValidationError:
        return False
    return True


def compared(version: ModelVersion, texts: Sequence[str], engine: Engine) -> list[dict[str, object]]:
    """For the provenance of each text: the training text that it shares most with, and how much. Nothing where it is
    not known what the version learned from: the rule against memorisation then asks for a person.
    """
    origin = history.origin_of(version)
    if origin.run is None or not texts:
        return [{} for _ in texts]
    # A harvest may have added to a dataset since.
    posts = sum(source.dataset.example_count for source in origin.run.sources.select_related("dataset"))
    pairs = engine.nearest(f"{origin.pk} {posts}", lambda: history.training_texts(origin), texts)
    return [{"nearest_text": nearest, "shared_run": shared} for nearest, shared in pairs]


def propose(generation: Generation, written: Sequence[Draft]) -> None:
    """Put drafts into the queue, and ask for as many more as are missing; for none when there was not one that could be
    used. Within the transaction that settles the request: all of it happens once.
    """
    posts = propose_posts(generation.bot, written)
    good = sum(post.state != PostState.BLOCKED for post in posts)
    missing = generation.count - good
    if not good:
        Generation.objects.filter(pk=generation.pk).update(error=LEFT_OUT)
    elif missing > 0 and _may_draw(generation, missing):
        Generation.objects.create(
            bot=generation.bot,
            version=generation.version,
            count=missing,
            params={**generation.params, "seed": (generation.params["seed"] + 1_000_003) % 2**63},
            into_queue=True,
        )


def _may_draw(generation: Generation, texts: int) -> bool:
    """Whether the day's quota has room for some more; if not, the request says so."""
    try:
        quotas.consume("candidates_per_day", texts)
    except QuotaExceeded as error:
        Generation.objects.filter(pk=generation.pk).update(error=" ".join(error.messages)[:500])
        return False
    return True


def sweep_queues() -> int:
    """Tell of queues that ran empty, but for those that something is about to fill. Returns how many were told of."""
    # everyone: beat's sweep looks at the bots of all organizations; whoever is told of one enters its tenant.
    living = Run.everyone.filter(bot=OuterRef("pk"), state__in=[Run.State.QUEUED, Run.State.RUNNING])
    online = living.filter(Q(kind=Run.Kind.ONLINE) | Q(then_online__isnull=False))
    # everyone: as above.
    writing = Generation.everyone.filter(bot=OuterRef("pk"), into_queue=True, state=Generation.State.QUEUED)
    return queue.notice_empty(Q(~Exists(online)) & Q(~Exists(writing)))
