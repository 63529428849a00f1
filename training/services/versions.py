"""Model versions: made from a folder of weights, tagged, made current, rolled back to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from accounts import audit, quotas
from accounts.quotas import QuotaExceeded
from bots import live
from bots.models import Bot, Post
from training import artifacts, events
from training.models import Canary, ModelVersion, Run
from training.services import canaries

ROLLED_BACK = "rolled_back"
"""In a version's report, once an older one took over from it: {"to": that version's number, "reason"}."""
LONGEST_REASON = 300


def create_version(
    bot: Bot,
    folder: Path,
    *,
    kind: str,
    run: Run | None,
    parent: ModelVersion | None,
    base: str,
    metrics: dict[str, Any],
    report: dict[str, Any] | None = None,
) -> ModelVersion:
    """Store a folder of weights as the bot's next version; it is not yet current. Raises QuotaExceeded, and leaves the
    folder as it is, when it does not fit into the organization's storage.
    """
    quotas.check("stored_bytes", artifacts.size_of(folder))
    version_id = uuid4()
    prefix = f"models/{bot.organization_id}/{bot.pk}/{version_id}"
    checksum, size = artifacts.store_folder(folder, prefix)  # before the row: a row without its weights must not exist
    with transaction.atomic(), _removing(prefix):
        Bot.locked(bot.pk)  # numbers are given one at a time
        quotas.demand("stored_bytes", size)
        last = ModelVersion.objects.filter(bot=bot).aggregate(last=Max("number"))["last"] or 0
        version: ModelVersion = ModelVersion.objects.create(
            id=version_id,
            bot=bot,
            number=last + 1,
            kind=kind,
            parent=parent,
            run=run,
            base=base,
            folder=prefix,
            checksum=checksum,
            size=size,
            metrics=metrics,
            report=report or {},
        )
        audit.record("version.create", version, after={"number": version.number, "kind": kind, "checksum": checksum})
        events.model_created(version)
    return version


@contextmanager
def _removing(prefix: str) -> Iterator[None]:
    """Takes the stored folder away again when there is no room for it after all."""
    try:
        yield
    except QuotaExceeded:
        artifacts.remove_folder(prefix)
        raise


@transaction.atomic
def make_current(version_id: UUID | str, reason: str = "") -> ModelVersion:
    """Make a version the one that its bot speaks with: promoting a new one and rolling back to an old one are the
    same act. A trial that is under way ends with it, promoted when it is the trial's version.

    A version that an older one takes over from keeps in its report that it was rolled back, to which and why, until it
    speaks again.
    """
    version: ModelVersion = ModelVersion.objects.select_related("bot").get(pk=version_id)
    canaries.hold_speaker(version.bot_id)
    reason = reason.replace("\0", "").strip()[:LONGEST_REASON]
    before = ModelVersion.objects.filter(bot=version.bot_id, is_current=True).first()
    if before is not None and before.pk == version.pk:
        version.is_current = True
        return version
    if (trial := canaries.running(version.bot)) is not None:
        won = trial.version_id == version.pk
        state = Canary.State.PROMOTED if won else Canary.State.ENDED
        canaries.close(trial, state, f"{audit.actor().label} made {version} current.")
    ModelVersion.objects.filter(bot=version.bot_id, is_current=True).update(is_current=False)
    version.is_current = True
    version.report.pop(ROLLED_BACK, None)
    version.save(update_fields=["is_current", "report"])
    if before is not None and version.number < before.number:
        before.report[ROLLED_BACK] = {"to": version.number, "reason": reason}
        before.save(update_fields=["report"])
    audit.record(
        "version.make_current",
        version,
        before={"number": before.number if before else None},
        after={"number": version.number} | ({"reason": reason} if reason else {}),
    )
    events.model_promoted(version)
    live.tell(version.bot_id, {"type": "version", "version": str(version.pk), "number": version.number})
    return version


@transaction.atomic
def promote_trial(canary_id: UUID | str, reason: str = "") -> Canary:
    """Let the version on trial take over. Raises ValidationError when the trial is over."""
    canary = canaries.hold(canary_id)
    canaries.close(canary, Canary.State.PROMOTED, reason or f"Promoted by {audit.actor().label}.")
    make_current(canary.version_id)
    return canary


def writer_of(bot: Bot, post_keys: Sequence[str]) -> ModelVersion | None:
    """The version that wrote most of these posts, the newest of equals; None when it is no longer there."""
    posts = Post.objects.filter(bot=bot, pk__in=post_keys, model_version_id__isnull=False)
    wrote = Counter(posts.values_list("model_version_id", flat=True))
    found = ModelVersion.objects.filter(bot=bot, pk__in=wrote)
    return max(found, key=lambda version: (wrote[version.pk], version.number), default=None)


@transaction.atomic
def tag_version(version_id: UUID | str, tags: list[str]) -> ModelVersion:
    """Replace a version's tags. Raises ValidationError for a tag that is empty, long or given twice."""
    version = ModelVersion.locked(version_id)
    cleaned = [tag.strip() for tag in tags]
    if any(not tag or len(tag) > 40 for tag in cleaned) or len(set(cleaned)) != len(cleaned) or len(cleaned) > 20:
        raise ValidationError({"tags": "Give up to 20 different tags of 1 to 40 characters."})
    before, version.tags = version.tags, cleaned
    version.save(update_fields=["tags"])
    audit.record("version.tag", version, before={"tags": before}, after={"tags": cleaned})
    return version


def current_version(bot: Bot) -> ModelVersion | None:
    """The version that the bot speaks with, if it has one."""
    version: ModelVersion | None = ModelVersion.objects.filter(bot=bot, is_current=True).first()
    return version
