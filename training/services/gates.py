"""The gate between a version that was trained by itself and the bot's voice: it is measured against the version that
speaks now, on posts that neither stopped its training nor were learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.urls import reverse

from accounts import audit, clock
from accounts.notifications import tell
from training import artifacts
from training.artifacts import ArtifactError
from training.engine.types import TrainingPost
from training.models import ModelVersion, Retraining, Run
from training.services import canaries, runs, versions
from training.services.engine import Engine, EngineError

MOST_POSTS = 512
"""How many of the newest posts the gate measures on: more would keep the worker from others for too long."""
MOST_MEMORISED = 0.25
"""Share of a version's samples that may be near-copies of training posts, unless the speaking version's is larger."""


def retraining_of(run: Run) -> Retraining | None:
    """The retraining that started this run, if it was not a person."""
    found: Retraining | None = Retraining.objects.filter(last_run=run).first()
    return found


def parted(run: Run, heldout: Sequence[TrainingPost]) -> tuple[list[TrainingPost], list[TrainingPost]]:
    """A run's held-out posts as those that say when to stop, and those that only the gate sees: every second one, from
    the newest on, of a retraining's, and none of another's. A loss that chose the stopping point would flatter.
    """
    if len(heldout) < 2 or retraining_of(run) is None:
        return list(heldout), []
    return list(heldout[-2::-2][::-1]), list(heldout[-1::-2][::-1])


def judge(run: Run, version: ModelVersion, engine: Engine, posts: Sequence[TrainingPost], learned: set[str]) -> None:
    """Measure a retraining's version against the one that speaks, and note the verdict in its report. Nothing for
    other runs. Measuring twice gives the same.

    `posts` are the ones kept for the gate; those whose text was `learned` from as well are left out.
    """
    row = retraining_of(run)
    if row is None:
        return
    runs.renew(run)
    texts = [post.text for post in posts if post.text not in learned][-MOST_POSTS:]
    current = versions.current_version(run.bot)
    verdict = _memorised(version, current) or _compared(row, version, current, engine, texts)
    verdict |= {"against": str(current.pk) if current else "", "posts": len(texts)}
    version.report = version.report | {"gate": verdict}
    version.save(update_fields=["report"])


def _memorised(version: ModelVersion, current: ModelVersion | None) -> dict[str, Any] | None:
    """The verdict on a version that knows its training posts by heart; None for any other."""
    rate = version.metrics.get("memorised_rate")
    if rate is None:
        return _refused("What it has by heart was not measured, since no samples were drawn at its evaluations.")
    allowed = max(MOST_MEMORISED, (current.metrics.get("memorised_rate") or 0.0) if current else 0.0)
    if rate > allowed:
        return _refused(f"{rate:.0%} of its samples are near-copies of training posts; at most {allowed:.0%} may be.")
    return None


def _compared(
    row: Retraining, version: ModelVersion, current: ModelVersion | None, engine: Engine, texts: Sequence[str]
) -> dict[str, Any]:
    """The losses of both versions over the same texts, in nats per character: the unit does not depend on how a model
    cuts text into tokens. Texts that one of them is too short to read count for neither.
    """
    if current is None:
        return {"passed": True, "reason": "It is the bot's first version."}
    if not texts:
        return _refused("No held-out post was left to compare it on: the bot needs more past posts.")
    try:
        new, old = (
            engine.text_losses(artifacts.local_folder(each.folder, each.checksum), texts) for each in (version, current)
        )
    except (EngineError, ArtifactError) as error:
        return _refused(f"It could not be compared with {current}: {error}")
    both = [(a, b, len(text)) for a, b, text in zip(new, old, texts, strict=True) if a is not None and b is not None]
    if not both:
        return _refused(f"The held-out posts are longer than {version} and {current} can read.")
    characters = sum(length for _, _, length in both)
    loss, before = (sum(pair[at] for pair in both) / characters for at in (0, 1))
    words = f"Held-out loss {loss:.3f} against {before:.3f} of {current}, in nats per character over {len(both)} posts"
    passed = loss <= before * (1 + row.most_loss_increase)
    reason = f"{words}." if passed else f"{words}: more than {row.most_loss_increase:.1%} worse."
    return {"passed": passed, "reason": reason, "loss": loss, "current_loss": before}


def _refused(reason: str) -> dict[str, Any]:
    return {"passed": False, "reason": reason}


@transaction.atomic
def conclude(run: Run, version: ModelVersion, *, stopped: bool) -> ModelVersion:
    """What becomes of a fine-tuning's version: a person's speaks at once; a retraining's is tagged, and speaks when it
    passed the gate. Returns the version that speaks from now on.
    """
    row = retraining_of(run)
    if row is None:
        return versions.make_current(version.pk)
    canaries.hold_speaker(run.bot_id)
    verdict = version.report.get("gate", {})
    current = versions.current_version(run.bot)
    tag = _tag(row, version)
    versions.tag_version(version.pk, [*(each for each in version.tags if each != tag), tag])
    name = f"{version} ({tag})"
    if stopped:
        result = f"{name} was stopped by a person before its end, so it was left as it is."
    elif verdict.get("against") != (str(current.pk) if current else ""):
        result = f"{name} was left: another version began to speak while it was being measured."
    elif not verdict["passed"]:
        result = f"{name} stays out. {verdict['reason']}"
        path = reverse("training:models", args=[run.organization.slug, run.bot_id])
        title = f"A new version of {run.bot} was not put to use"
        tell("model.held_back", title, path, result, f"version {version.pk}")
    elif not row.make_current:
        result = f"{name} passed the gate and waits for a person to put it to use. {verdict['reason']}"
    else:
        result = f"{name} speaks for the bot now. {verdict['reason']}"
        current = versions.make_current(version.pk)
    row.result = result[:500]
    row.save(update_fields=["result"])
    audit.record("retraining.conclude", row, after={"version": str(version.pk), "result": row.result})
    return current or version


def _tag(row: Retraining, version: ModelVersion) -> str:
    """The template with the time put in, and a number behind it where another version bears it already."""
    base = clock.now().strftime(row.tag)[:36]
    others = ModelVersion.objects.filter(bot=row.bot_id).exclude(pk=version.pk)
    borne = {tag for tags in others.values_list("tags", flat=True) for tag in tags}
    return next(tag for tag in (base, *(f"{base}.{n}" for n in range(2, len(borne) + 3))) if tag not in borne)
