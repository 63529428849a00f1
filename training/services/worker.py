"""What a training worker does when a bell rings, and how beat finds work whose bell was lost."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models.functions import Now

from accounts import quotas
from accounts.doorbell import ring
from accounts.quotas import QuotaExceeded
from accounts.tenancy import tenant
from training import configs
from training.artifacts import ArtifactError
from training.models import Dataset, Generation, Run
from training.services import canaries, datasets, fairness, finetuning, generations, replies, rounds, runs
from training.services.engine import Engine, EngineError
from training.services.fairness import Turns

log = logging.getLogger(__name__)

TURNS = Turns()


def serve(run_id: UUID | str | None, engine: Engine, turns: Turns = TURNS) -> None:
    """Do the piece of work whose turn it is, whatever the bell was for. `run_id` is the run that it named, if any: only
    its bell knows of an online run whether it has work. Does nothing when there is none, or others have it all.
    """
    jobs = {job.pk: job for job in fairness.waiting()}
    if run_id is not None and (named := fairness.free_runs().filter(pk=run_id).select_related("bot").first()):
        with tenant(named.organization_id):
            if _has_work(named):
                jobs[named.pk] = fairness.run_job(named)
    loads = fairness.loads_of({job.organization_id for job in jobs.values()})
    verbs = {"run": advance_run, "generation": generations.answer_generation, "incoming": replies.answer_incoming}
    for job in turns.in_order(jobs.values(), loads):
        with tenant(job.organization_id):
            turns.take(job)
            if verbs[job.kind](job.pk, engine):
                return


def import_next() -> None:
    """Import the dataset whose turn it is; those that others are importing are passed over."""
    for organization_id, dataset_id in fairness.imports_in_turn():
        with tenant(organization_id):
            try:
                if datasets.import_dataset(dataset_id).state != Dataset.State.IMPORTING:
                    return
            except Exception:  # one that breaks the importer must not keep the others waiting
                log.exception("dataset %s could not be imported", dataset_id)


def advance_run(run_id: UUID | str, engine: Engine) -> bool:
    """Bring a run forward by one slice or round, and charge its organization for the time. False, and nothing done,
    when another worker has it.
    """
    run = runs.claim_run(run_id)
    if run is None:
        return False
    began = time.monotonic()
    try:
        (finetuning.advance if run.kind == Run.Kind.OFFLINE else rounds.advance)(run, engine)
    except QuotaExceeded as error:
        runs.wait_for_room(run, error)
    except (EngineError, ArtifactError, ValidationError) as error:  # trying again would not help
        runs.fail(run, error)
    except Exception as error:  # a fault of ours: it may pass, but must not be tried for ever
        runs.stumble(run, error)
    finally:
        quotas.charge(fairness.GPU_SECONDS, time.monotonic() - began)
    return True


def sweep_runs() -> int:
    """Ring for every living run that has something to do and no worker, and for requests whose bell was lost; end
    trials that do harm. Runs of an organization that used its GPU seconds of the day are told to wait.
    """
    rung = 0
    canaries.sweep()
    free = list(fairness.free_runs().select_related("bot"))
    loads = fairness.loads_of(run.organization_id for run in free)
    for run in free:
        with tenant(run.organization_id):
            if not _has_work(run):
                continue
            if run.wish == Run.Wish.RUN and (told := loads[run.organization_id].exhausted):
                runs.put_off(run, told)
                continue
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
