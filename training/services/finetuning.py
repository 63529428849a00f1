"""Bringing a fine-tuning run forward by one slice, and making a model version of its result."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import clock
from accounts.doorbell import ring
from training import artifacts, configs, history
from training.engine.errors import NothingToTestOn
from training.engine.types import FinetuneReport, TrainingPost
from training.models import Example, ModelVersion, Run
from training.services import critics, gates, runs, versions
from training.services.engine import Engine
from training.services.telemetry import Recorder

SLICE_SECONDS = 8.0
"""How long one task trains before it checkpoints and lets others (a sampling request, another bot) have the worker."""
LOOK_EVERY = 1.0
"""Seconds between looks at what people want of the run."""
HELDOUT_SHARE = 0.1


MEMORISATION = ("memorised_rate", "longest_shared_run", "longest_shared_words")
FEWEST_AUTHORS = 10
"""With fewer known authors, keeping some out altogether would tell more of them than of authors in general."""


@dataclass(frozen=True)
class Split:
    """A run's posts: to train on, the newest held out, those of authors kept out altogether, and those that only the
    gate of a retraining sees.
    """

    train: list[TrainingPost]
    heldout: list[TrainingPost]
    heldout_authors: list[TrainingPost]
    gate: list[TrainingPost]


def split(run: Run) -> Split:
    """All posts of some authors are kept out, where enough authors are known; of the rest, the newest tenth."""
    posts = history.training_posts(run)
    strangers = _kept_out(posts, configs.finetune(run.config).heldout_author_share)
    rest = [post for post in posts if post.conditions.author not in strangers]
    heldout = max(1, round(len(rest) * HELDOUT_SHARE))
    watched, gate = gates.parted(run, rest[-heldout:])
    return Split(rest[:-heldout], watched, [p for p in posts if p.conditions.author in strangers], gate)


def _kept_out(posts: Sequence[TrainingPost], share: float) -> set[str]:
    """Authors who wrote about `share` of the posts together, by the hash of their names: a dataset that grows keeps
    its strangers.
    """
    written = Counter(post.conditions.author for post in posts if post.conditions.author)
    if share <= 0 or len(written) < FEWEST_AUTHORS:
        return set()
    room = share * len(posts)
    kept: set[str] = set()
    for author in sorted(written, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if written[author] <= room:
            kept.add(author)
            room -= written[author]
    return kept or {min(written, key=lambda name: (written[name], name))}


def advance(run: Run, engine: Engine) -> None:
    """Train one slice. A kill at any moment costs at most the slice: the next one resumes from the last checkpoint."""
    if run.started_at is None and runs.obey(run):
        return
    posts = split(run)
    workdir = artifacts.work_folder("finetune", run.pk)
    runs.mark_running(run)
    watch = _Watch(run)
    with Recorder(run) as recorder, _marking():
        report = engine.finetune(
            key=str(run.pk),
            base=run.bot.base_model,
            train=posts.train,
            heldout=posts.heldout,
            heldout_authors=posts.heldout_authors,
            config=configs.finetune(run.config),
            workdir=workdir,
            should_stop=watch,
            on_step=recorder.on_step,
            on_samples=recorder.on_samples,
        )
    progress: dict[str, Any] = {
        "step": report.step,
        "total": report.total_steps,
        "best_heldout_loss": report.best_heldout_loss,
    } | _mishaps(report)
    if watch.lost or not runs.renew(run):
        return
    if report.finished or watch.wish == Run.Wish.STOP:
        _finish(run, engine, report, progress, stopped=not report.finished)
    elif watch.wish == Run.Wish.PAUSE:
        runs.release(run, state=Run.State.PAUSED, progress=progress)
    elif runs.release(run, progress=progress):
        ring(runs.ADVANCE, run.organization_id, run.pk)


@contextlib.contextmanager
def _marking() -> Iterator[None]:
    """Marks posts also where a training ends for want of others."""
    try:
        yield
    except NothingToTestOn as problem:
        _mark(problem.quarantined)
        raise


def _mark(quarantined: Mapping[str, str]) -> None:
    for key, reason in quarantined.items():
        Example.objects.filter(pk=key).update(quarantined=reason[:300])


class _Watch:
    """Asked before every step whether to end the slice: time is up, somebody wants the run to pause or stop, or the
    lease is lost.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.wish: str = run.wish
        self.lost = False
        self._ends_at = time.monotonic() + SLICE_SECONDS
        self._look_at = time.monotonic() + LOOK_EVERY

    def __call__(self) -> bool:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self.lost = not runs.renew(self.run)
            self.wish = runs.wish_of(self.run)
        return self.lost or self.wish != Run.Wish.RUN or now >= self._ends_at


def _finish(run: Run, engine: Engine, report: FinetuneReport, progress: dict[str, Any], *, stopped: bool) -> None:
    workdir = artifacts.work_folder("finetune", run.pk)
    progress |= {"reason": report.reason}
    _mark(report.quarantined)
    if report.best_heldout_loss is None:
        progress["reason"] = "It was stopped before its first evaluation, so there was no model to keep."
        runs.release(run, state=Run.State.STOPPED, finished_at=clock.now(), progress=progress)
        shutil.rmtree(workdir, ignore_errors=True)
        return
    existing = ModelVersion.objects.filter(run=run).first()  # a kill between storing the version and ending the run
    version = existing or _make_version(run, engine, report, engine.export_finetuned(str(run.pk), workdir))
    posts = split(run)
    gates.judge(run, version, engine, posts.gate, {post.text for post in posts.train})
    if _end(run, version, progress, stopped=stopped):
        shutil.rmtree(workdir, ignore_errors=True)


def _make_version(run: Run, engine: Engine, report: FinetuneReport, folder: Path) -> ModelVersion:
    posts = split(run)
    judged = critics.train(run, engine, folder, posts.train, posts.heldout, posts.heldout_authors)
    return versions.create_version(
        run.bot,
        folder,
        kind=ModelVersion.Kind.OFFLINE,
        run=run,
        parent=None,
        base=run.bot.base_model,
        metrics={"heldout_loss": report.best_heldout_loss, "step": report.best_step, "reason": report.reason}
        | _measured(report),
        report=_reported(report) | judged,
    )


def _mishaps(report: FinetuneReport) -> dict[str, Any]:
    """What went wrong and was mended: how many posts are left out, and sentences."""
    mishaps = {"quarantined": len(report.quarantined), "notes": list(report.notes)}
    return {name: value for name, value in mishaps.items() if value}


def _measured(report: FinetuneReport) -> dict[str, Any]:
    """Further numbers of the version that was kept."""
    numbers = {name: report.memorisation[name] for name in MEMORISATION if name in report.memorisation}
    if report.best_heldout_author_loss is not None:
        numbers["heldout_author_loss"] = report.best_heldout_author_loss
    return numbers


def _reported(report: FinetuneReport) -> dict[str, Any]:
    told = {
        "memorisation": dict(report.memorisation),
        "quarantined": dict(report.quarantined),
        "notes": list(report.notes),
    }
    return {name: value for name, value in told.items() if value}


@transaction.atomic
def _end(run: Run, version: ModelVersion, progress: dict[str, Any], *, stopped: bool) -> bool:
    """End the run, let its version speak (a retraining's: past the gate) and start what is to follow, all at once.
    False when the lease was lost.
    """
    state = Run.State.STOPPED if stopped else Run.State.FINISHED
    if not runs.release(run, state=state, finished_at=clock.now(), progress=progress):
        return False
    speaker = gates.conclude(run, version, stopped=stopped)
    if run.then_online is not None and not stopped:
        try:
            runs.start_online(run.bot, speaker, run.then_online)
        except ValidationError as error:  # the model is there; what keeps it from learning on is for a person to mend
            words = f"Fine-tuning is done, but online learning could not start: {' '.join(error.messages)}"
            Run.objects.filter(pk=run.pk).update(error=words)
    return True
