"""Runs: started, paused, stopped and resumed by people; brought forward, slice by slice, by a training worker."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import psutil
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts import audit, clock, quotas
from accounts.doorbell import ring
from accounts.quotas import QuotaExceeded
from bots import live
from bots.models import Bot
from training import configs, events
from training.engine.errors import TrainingDiverged
from training.models import Dataset, Harvest, ModelVersion, Run, RunDataset, RunEvent
from training.services import alerts, run_log

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=120)
SMALLEST_DATASET = 20
MOST_WEIGHT = 1000.0
MOST_STUMBLES = 3
ADVANCE = "training.tasks.gpu_advance_run"
WAITS = "waits"
"""In a run's progress: why it waits, in words."""
WISHES = {Run.Wish.PAUSE: "Asked to pause", Run.Wish.STOP: "Asked to stop", Run.Wish.RUN: "Asked to go on"}


def start_finetune(
    bot: Bot,
    sources: Dataset | Mapping[Dataset, float],
    config: dict[str, Any] | None = None,
    *,
    then_online: dict[str, Any] | None = None,
) -> Run:
    """Start fine-tuning the bot's base model on a dataset, or on several with their weights; `then_online` starts
    online learning from the result.

    Raises ValidationError when a dataset is not ready or may not be learned from, they are too small together, a
    weight or the configuration is wrong, or another run of this bot is under way.
    """
    weights = {sources: 1.0} if isinstance(sources, Dataset) else dict(sources)
    check_sources(bot, weights)
    full = configs.as_json(configs.finetune(config or {}))
    if then_online is not None:
        check_reactions(bot)
        then_online = _online(bot, then_online)
    return _start(Run(bot=bot, kind=Run.Kind.OFFLINE, config=full, then_online=then_online), weights)


def check_sources(bot: Bot, weights: Mapping[Dataset, float]) -> None:
    """Refuse, on record where a permission is missing, to learn from these datasets. Raises ValidationError."""
    if not weights:
        raise ValidationError({"dataset": "Fine-tuning needs a dataset: choose one, or upload posts first."})
    for dataset, weight in weights.items():
        if dataset.bot_id != bot.pk or dataset.state != Dataset.State.READY:
            raise ValidationError({"dataset": "Choose a dataset of this bot that has been imported."})
        if not 0 < weight <= MOST_WEIGHT:  # also refuses NaN
            raise ValidationError(
                {"dataset": f"The weight of “{dataset}” must be above 0 and at most {MOST_WEIGHT:g}."}
            )
        if not dataset.may_learn or Harvest.objects.filter(dataset=dataset, connection__may_learn=False).exists():
            # Outside of any transaction of ours: the refusal must not take its line in the log back with it.
            audit.record("run.refused", dataset, after={"reason": "may_learn is off"})
            raise ValidationError(
                {"dataset": "Nobody has recorded that a model may learn from this dataset (may_learn)."}
            )
    posts = sum(dataset.example_count for dataset in weights)
    if posts < SMALLEST_DATASET:
        have = "The dataset has" if len(weights) == 1 else "The datasets together have"
        raise ValidationError({"dataset": f"{have} {posts} posts; fine-tuning needs at least {SMALLEST_DATASET}."})


def start_online(bot: Bot, start_version: ModelVersion, config: dict[str, Any] | None = None) -> Run:
    """Start online learning from a version; the fine-tuned one it descends from is the reference and the baseline
    arm.

    Raises ValidationError when the version is another bot's, the configuration is wrong, or another run of this bot
    is under way.
    """
    if start_version.bot_id != bot.pk:
        raise ValidationError({"start_version": "Choose a model version of this bot."})
    check_reactions(bot)
    full = _online(bot, config or {})
    return _start(Run(bot=bot, kind=Run.Kind.ONLINE, start_version=start_version, config=full), {})


def _online(bot: Bot, config: Mapping[str, Any]) -> dict[str, Any]:
    return configs.as_json(configs.new_online(config, bot.connection.capabilities.max_length))


def check_reactions(bot: Bot) -> None:
    """Refuse, on record, to learn from a connection without the permission. Raises ValidationError."""
    if not bot.connection.may_learn:
        audit.record("run.refused", bot.connection, after={"reason": "may_learn is off"})
        raise ValidationError(
            {
                "bot": "Nobody has recorded that a model may learn from this account's reactions (may_learn): an admin "
                "can do so on the page of its connection."
            }
        )


@transaction.atomic
def _start(run: Run, weights: Mapping[Dataset, float]) -> Run:
    quotas.check("stored_bytes")  # its result could not be kept
    try:
        with transaction.atomic():
            run.save()
            for dataset, weight in weights.items():
                RunDataset.objects.create(run=run, dataset=dataset, weight=weight)
            if Dataset.objects.filter(pk__in=[dataset.pk for dataset in weights], may_learn=False).exists():
                raise ValidationError({"dataset": "The permission to learn from a dataset was taken back just now."})
    except IntegrityError:  # UNIQUE(bot) over living runs
        raise ValidationError(
            "Another run of this bot is under way: stop it first, or wait until it has finished."
        ) from None
    learned_from = {str(dataset.pk): weight for dataset, weight in weights.items()}
    audit.record("run.start", run, after={"kind": run.kind, "config": run.config, "datasets": learned_from})
    run_log.note(run, f"Queued {run_log.by()}.")
    events.run_started(run)
    live.tell(run.bot_id, {"type": "run", "run": str(run.pk), "state": run.state, "kind": run.kind})
    ring(ADVANCE, run.organization_id, run.pk)
    return run


def pause_run(run_id: UUID | str) -> Run:
    """Pause a run at the end of its present slice; nothing it did is lost."""
    return _wish(run_id, Run.Wish.PAUSE)


def stop_run(run_id: UUID | str) -> Run:
    """Stop a run for good at the end of its present slice; fine-tuning keeps the best model so far."""
    return _wish(run_id, Run.Wish.STOP)


def resume_run(run_id: UUID | str) -> Run:
    """Let a paused run go on where it stopped."""
    return _wish(run_id, Run.Wish.RUN)


@transaction.atomic
def _wish(run_id: UUID | str, wish: Run.Wish) -> Run:
    run = Run.locked(run_id)
    if run.state not in Run.LIVING:
        raise ValidationError(f"This run is over ({run.get_state_display().lower()}): start a new one.")
    before = {"wish": run.wish, "state": run.state}
    run.wish = wish
    if run.state == Run.State.PAUSED and wish != Run.Wish.PAUSE:
        run.state = Run.State.QUEUED
        run.progress = _not_waiting(run)
    run.save(update_fields=["wish", "state", "progress"])
    audit.record(f"run.{wish}", run, before=before, after={"wish": wish, "state": run.state})
    run_log.note(run, f"{WISHES[wish]} {run_log.by()}.")
    live.tell(run.bot_id, {"type": "run", "run": str(run.pk), "state": run.state, "kind": run.kind})
    ring(ADVANCE, run.organization_id, run.pk)
    return run


def claim_run(run_id: UUID | str) -> Run | None:
    """Take a living run with a new fence and a lease. None when another worker has it, or it is paused or over."""
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    taken = Run.objects.filter(free, pk=run_id, state__in=[Run.State.QUEUED, Run.State.RUNNING]).update(
        fence=F("fence") + 1, owner=f"{socket.gethostname()}:{os.getpid()}", lease_until=Now() + LEASE
    )
    return Run.objects.select_related("bot__connection", "start_version").get(pk=run_id) if taken else None


def renew(run: Run) -> bool:
    """Lengthen the lease from within a long slice. False: the lease was lost, and the run is another worker's now."""
    return bool(Run.objects.filter(pk=run.pk, fence=run.fence).update(lease_until=Now() + LEASE))


def hold(run: Run) -> bool:
    """Keep the run's row, and with it the lease, until the transaction ends. False: the lease was lost."""
    held = Run.objects.select_for_update().filter(pk=run.pk, fence=run.fence)
    return held.values_list("pk", flat=True).first() is not None


def mark_running(run: Run) -> None:
    """Say that a claimed run is under way, the first time with when it began."""
    started = run.started_at or clock.now()
    run.progress = _not_waiting(run)
    mine = Run.objects.filter(pk=run.pk, fence=run.fence)
    mine.update(state=Run.State.RUNNING, started_at=started, progress=run.progress)
    if run.state != Run.State.RUNNING:
        audit.record("run.state", run, before={"state": run.state}, after={"state": Run.State.RUNNING})
        run_log.note(run, "Started." if run.started_at is None else "Going on.")
        run.state = Run.State.RUNNING
        live.tell(run.bot_id, {"type": "run", "run": str(run.pk), "state": run.state, "kind": run.kind})


def wait_for_room(run: Run, error: QuotaExceeded) -> None:
    """Let go of a run that a quota keeps from going on, with what it has done so far. One of the day: it goes on by
    itself once that is over. Of the whole: it pauses until a person has made room, or fails when it was to stop.
    """
    words = " ".join(error.messages)
    if error.frees_at is not None:
        release(run, state=Run.State.QUEUED, progress=run.progress | {WAITS: words})
    elif wish_of(run) == Run.Wish.STOP:
        fail(run, error)
    else:
        release(run, state=Run.State.PAUSED, wish=Run.Wish.PAUSE, progress=run.progress | {WAITS: words})


@transaction.atomic
def put_off(run: Run, why: str) -> None:
    """Say of a run that no worker has why it waits. Saying it twice changes nothing."""
    before = {"state": run.state}
    if run.state == Run.State.QUEUED and run.progress.get(WAITS) == why:
        return
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    run.state, run.progress = Run.State.QUEUED, run.progress | {WAITS: why}
    held = Run.objects.filter(free, pk=run.pk, fence=run.fence, wish=Run.Wish.RUN)
    if held.update(state=run.state, progress=run.progress):
        audit.record("run.wait", run, before=before, after={"state": run.state, "reason": why})
        run_log.moved(run, run.state, reason=why)
        live.tell(run.bot_id, {"type": "run", "run": str(run.pk), "state": run.state, "kind": run.kind})


def _not_waiting(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.progress.items() if name != WAITS}


def wish_of(run: Run) -> str:
    """What people want of the run at this moment."""
    wish: str = Run.objects.values_list("wish", flat=True).get(pk=run.pk)
    return wish


@transaction.atomic
def release(run: Run, **fields: Any) -> bool:
    """Give the lease back and book how the slice ended. False, and nothing booked, when the lease was lost."""
    booked = Run.objects.filter(pk=run.pk, fence=run.fence).update(lease_until=None, owner="", **fields)
    if booked and "state" in fields and fields["state"] != run.state:
        audit.record("run.state", run, before={"state": run.state}, after={"state": fields["state"]})
        events.run_moved(run, fields["state"])
        run_log.moved(run, fields["state"], reason=_reason(fields))
        live.tell(run.bot_id, {"type": "run", "run": str(run.pk), "state": fields["state"], "kind": run.kind})
        run.state = fields["state"]
    return bool(booked)


def _reason(booked: dict[str, Any]) -> str:
    """Why a run is in the state that is being booked, where that is known."""
    progress = booked.get("progress") or {}
    return str(booked.get("error") or progress.get(WAITS) or progress.get("reason") or "")


def obey(run: Run) -> bool:
    """Carry out a wish to pause or stop an online run, or a fine-tuning run that has not begun. Returns whether it
    was one.
    """
    if run.wish == Run.Wish.PAUSE:
        release(run, state=Run.State.PAUSED)
    elif run.wish == Run.Wish.STOP:
        release(run, state=Run.State.STOPPED, finished_at=clock.now())
    return bool(run.wish != Run.Wish.RUN)


def stumble(run: Run, error: Exception) -> None:
    """Let go of a run after an unforeseen fault, so that it is tried again; the third time in a row it has failed."""
    stumbles = run.progress.get("stumbles", 0) + 1
    if stumbles >= MOST_STUMBLES:
        fail(run, RuntimeError(f"It broke off {stumbles} times in a row: {type(error).__name__}: {error}"))
        return
    log.error("run %s broke off: %s", run.pk, error, exc_info=error)
    if release(run, progress=run.progress | {"stumbles": stumbles}):
        words = f"It broke off and is tried again: {type(error).__name__}: {error}"
        run_log.note(run, words, level=RunEvent.Level.WARNING)


def free_dead_leases() -> int:
    """Free the runs that a worker of this machine held when it died. For a training worker that starts: another one's
    processes may be out of its sight.
    """
    host, freed = socket.gethostname(), 0
    # everyone: a worker serves all organizations.
    for run in Run.everyone.filter(owner__startswith=f"{host}:", lease_until__gt=Now()):
        if not psutil.pid_exists(int(run.owner.rpartition(":")[2])):
            # everyone: as above.
            freed += Run.everyone.filter(pk=run.pk, fence=run.fence).update(lease_until=None, owner="")
    return freed


def fail(run: Run, error: Exception) -> None:
    """End a run that cannot go on, with words for its owner."""
    log.error("run %s failed: %s", run.pk, error, exc_info=error)
    words = " ".join(error.messages) if isinstance(error, ValidationError) else str(error) or type(error).__name__
    failed = release(run, state=Run.State.FAILED, finished_at=clock.now(), error=words[:4000])
    if failed and isinstance(error, TrainingDiverged):
        alerts.raise_alert(run, alerts.NOT_A_NUMBER, words)
