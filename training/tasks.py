"""Doorbells of training: take ids, enter the tenant, call one service. Those named `gpu_*` run on the training
worker, which alone loads torch; each of them, and that of an import, does the work whose turn it is
(training/services/fairness.py), and not necessarily what it was rung for.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import worker_ready

from accounts.tenancy import tenant
from training.services import ahead, harvests, replies, retraining, runs, worker


@worker_ready.connect
def free_dead_leases(sender: Any, **kwargs: Any) -> None:
    if "gpu" in sender.app.amqp.queues.consume_from:
        runs.free_dead_leases()


@shared_task
def gpu_advance_run(organization_id: str, run_id: str) -> None:
    from training import gpu

    worker.serve(run_id, gpu.engine)


@shared_task
def gpu_answer_generation(organization_id: str, generation_id: str) -> None:
    from training import gpu

    worker.serve(None, gpu.engine)


@shared_task
def import_dataset(organization_id: str, dataset_id: str) -> None:
    worker.import_next()


@shared_task
def sweep_runs() -> None:
    worker.sweep_runs()


@shared_task
def gpu_answer_incoming(organization_id: str, incoming_id: str) -> None:
    from training import gpu

    worker.serve(None, gpu.engine)


@shared_task
def sweep_replies() -> None:
    replies.ring_waiting()


@shared_task
def read_harvest(organization_id: str, harvest_id: str) -> None:
    with tenant(organization_id):
        harvests.read_harvest(harvest_id)


@shared_task
def sweep_pipeline() -> None:
    harvests.sweep_harvests()
    retraining.sweep_retrainings()


@shared_task
def sweep_queues() -> None:
    ahead.sweep_queues()
