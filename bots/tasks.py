"""Doorbells of posts: take ids, enter the tenant, call one service. Every one of them can run twice."""

from __future__ import annotations

from celery import shared_task

from accounts.tenancy import tenant
from bots.services import delivery, scheduling, scores


@shared_task
def deliver_post(organization_id: str, post_id: str) -> None:
    with tenant(organization_id):
        delivery.deliver_post(post_id)


@shared_task
def publish_due() -> None:
    scheduling.queue_due()


@shared_task
def fill_slots() -> None:
    scheduling.fill_all_slots()


@shared_task
def recover_posts() -> None:
    delivery.recover_posts()


@shared_task
def read_due_scores() -> None:
    scores.read_due_scores()
