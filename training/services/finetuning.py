"""Bringing a fine-tuning run forward by one slice, and making a model version of its result."""

from __future__ import annotations

import shutil
import time
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import clock
from accounts.doorbell import ring
from training import artifacts, configs
from training.engine.types import FinetuneReport
from training.models import Example, ModelVersion, Run
from training.services import runs, versions
from training.services.engine import Engine
from training.services.telemetry import Recorder

SLICE_SECONDS = 8.0
"""How long one task trains before it checkpoints and lets others (a sampling request, another bot) have the worker."""
LOOK_EVERY = 1.0
"""Seconds between looks at what people want of the run."""
HELDOUT_SHARE = 0.1


def split(run: Run) -> tuple[list[str], list[str]]:
    """The run's texts: all but the newest tenth to train on, the newest tenth held out. Rows without a time count in
    file order.
    """
    rows = Example.objects.filter(dataset=run.dataset_id, may_learn=True).order_by("posted_at", "position")
    texts = list(rows.values_list("text", flat=True))
    heldout = max(1, round(len(texts) * HELDOUT_SHARE))
    return texts[:-heldout], texts[-heldout:]


def advance(run: Run, engine: Engine) -> None:
    """Train one slice. A kill at any moment costs at most the slice: the next one resumes from the last checkpoint."""
    if run.started_at is None and runs.obey(run):
        return
    train, heldout = split(run)
    workdir = artifacts.work_folder("finetune", run.pk)
    runs.mark_running(run)
    watch = _Watch(run)
    with Recorder(run) as recorder:
        report = engine.finetune(
            key=str(run.pk),
            base=run.bot.base_model,
            train=train,
            heldout=heldout,
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
    }
    if watch.lost or not runs.renew(run):
        return
    if report.finished or watch.wish == Run.Wish.STOP:
        _finish(run, engine, report, progress, stopped=not report.finished)
    elif watch.wish == Run.Wish.PAUSE:
        runs.release(run, state=Run.State.PAUSED, progress=progress)
    elif runs.release(run, progress=progress):
        ring(runs.ADVANCE, run.organization_id, run.pk)


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
    if report.best_heldout_loss is None:
        progress["reason"] = "It was stopped before its first evaluation, so there was no model to keep."
        runs.release(run, state=Run.State.STOPPED, finished_at=clock.now(), progress=progress)
        shutil.rmtree(workdir, ignore_errors=True)
        return
    existing = ModelVersion.objects.filter(run=run).first()  # a kill between storing the version and ending the run
    version = existing or versions.create_version(
        run.bot,
        engine.export_finetuned(str(run.pk), workdir),
        kind=ModelVersion.Kind.OFFLINE,
        run=run,
        parent=None,
        base=run.bot.base_model,
        metrics={"heldout_loss": report.best_heldout_loss, "step": report.best_step, "reason": report.reason},
    )
    if _end(run, version, progress, stopped=stopped):
        shutil.rmtree(workdir, ignore_errors=True)


@transaction.atomic
def _end(run: Run, version: ModelVersion, progress: dict[str, Any], *, stopped: bool) -> bool:
    """Make the version current, end the run and start what is to follow, all at once. False when the lease was lost."""
    state = Run.State.STOPPED if stopped else Run.State.FINISHED
    if not runs.release(run, state=state, finished_at=clock.now(), progress=progress):
        return False
    versions.make_current(version.pk)
    if run.then_online is not None and not stopped:
        try:
            runs.start_online(run.bot, version, run.then_online)
        except ValidationError as error:  # the model is there; what keeps it from learning on is for a person to mend
            words = f"Fine-tuning is done, but online learning could not start: {' '.join(error.messages)}"
            Run.objects.filter(pk=run.pk).update(error=words)
    return True
