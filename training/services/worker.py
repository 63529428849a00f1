"""What a training worker does when a bell rings, and how beat finds work whose bell was lost."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.db.models.functions import Now

from accounts.doorbell import ring
from accounts.tenancy import tenant
from training import configs
from training.artifacts import ArtifactError
from training.models import Dataset, Generation, Run
from training.services import canaries, finetuning, generations, rounds, runs
from training.services.engine import Engine, EngineError


def advance_run(run_id: UUID | str, engine: Engine) -> None:
    """Bring a run forward by one slice or round. Does nothing when another worker has it."""
    run = runs.claim_run(run_id)
    if run is None:
        return
    try:
        (finetuning.advance if run.kind == Run.Kind.OFFLINE else rounds.advance)(run, engine)
    except (EngineError, ArtifactError, ValidationError) as error:  # trying again would not help
        runs.fail(run, error)
    except Exception as error:  # a fault of ours: it may pass, but must not be tried for ever
        runs.stumble(run, error)


def sweep_runs() -> int:
    """Ring for every living run that has something to do and no worker, and for requests whose bell was lost; end
    trials that do harm.
    """
    rung = 0
    canaries.sweep()
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    # everyone: beat's sweep finds the work of all organizations, then enters each one's tenant.
    for run in Run.everyone.filter(free, state__in=[Run.State.QUEUED, Run.State.RUNNING]).select_related("bot"):
        with tenant(run.organization_id):
            if _has_work(run):
                ring(runs.ADVANCE, run.organization_id, run.pk)
                rung += 1
    overdue = Now() - timedelta(seconds=5)
    # everyone: requests of all organizations; the worker that hears the bell enters the tenant.
    queued = Generation.everyone.filter(state=Generation.State.QUEUED, created_at__lt=overdue)
    # Of what is written ahead, one request a bot: a bell for each would keep the worker from its trainings.
    written_ahead = queued.filter(into_queue=True).order_by("bot_id", "created_at").distinct("bot_id")
    for generation in [*queued.filter(into_queue=False)[:100], *written_ahead[:100]]:
        ring(generations.ANSWER, generation.organization_id, generation.pk)
    # everyone: imports of all organizations, likewise.
    for dataset in Dataset.everyone.filter(state=Dataset.State.IMPORTING):
        ring("training.tasks.import_dataset", dataset.organization_id, dataset.pk)
    return rung


def _has_work(run: Run) -> bool:
    if run.kind == Run.Kind.OFFLINE or run.state == Run.State.QUEUED or run.wish != Run.Wish.RUN:
        return True
    config = configs.online(run.config)
    return rounds.is_complete(run, config) or rounds.is_due(run, config)
