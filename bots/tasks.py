"""Doorbells of posts: take ids, enter the tenant, call one service. Every one of them can run twice."""

from __future__ import annotations

from typing import Any

from celery import concurrency, shared_task
from celery.concurrency.prefork import TaskPool
from celery.signals import worker_init, worker_process_shutdown
from django.db import connections

from accounts.tenancy import tenant
from bots import deadman, faults, live
from bots.services import (
    delivery,
    recovery,
    reply_sending,
    restored,
    sanctions,
    scheduling,
    scores,
    takedowns,
    watching,
)


@worker_process_shutdown.connect
def tell_the_rest(**_: Any) -> None:
    """A process of a pool ends without Python's own farewells."""
    live.flush()


@worker_init.connect
def prepare_publishers(sender: Any, **_: Any) -> None:
    """Before a worker that publishes forks its pool: refuse what would break the promises of docs/delivery.md."""
    if "io" not in sender.app.amqp.queues.consume_from:
        return
    if not issubclass(concurrency.get_implementation(sender.pool_cls), TaskPool):
        # SystemExit: of other errors the signal would only make a line in the log.
        raise SystemExit("Publishers must be processes of their own: start this worker with --pool=prefork.")
    try:
        delivery.check_times()
        faults.check()
        deadman.enable()
        restored.keep_pulse()
        connections.close_all()  # none for the pool's processes to inherit
    except Exception as error:
        raise SystemExit(f"This worker cannot publish: {error}") from error


@shared_task
def deliver_posts(organization_id: str, *post_ids: str) -> None:
    with tenant(organization_id):
        delivery.deliver_posts(post_ids)


@shared_task
def publish_due() -> None:
    scheduling.queue_due()


@shared_task
def fill_slots() -> None:
    scheduling.fill_all_slots()


@shared_task
def recover_posts() -> None:
    recovery.recover_posts()


@shared_task
def keep_pulse() -> None:
    restored.keep_pulse()


@shared_task
def read_due_scores() -> None:
    scores.read_due_scores()


@shared_task
def sweep_takedowns() -> None:
    takedowns.sweep()


@shared_task
def end_sanctions() -> None:
    sanctions.end_expired()


@shared_task
def watch_for_posts() -> None:
    watching.ring_due()


@shared_task
def look_for_posts(organization_id: str, rules_id: int) -> None:
    with tenant(organization_id):
        watching.look_for_posts(rules_id)


@shared_task
def send_replies() -> None:
    reply_sending.send_approved()
