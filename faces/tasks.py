"""Doorbells of connections: take ids, enter the tenant, call one service. Every one of them can run twice."""

from __future__ import annotations

from celery import shared_task

from accounts.tenancy import tenant
from faces import authorizations, governor, health


@shared_task
def check_connection(organization_id: str, connection_id: str) -> None:
    with tenant(organization_id):
        health.check_in_background(connection_id)


@shared_task
def check_due_connections() -> None:
    health.ring_due()
    authorizations.forget_old()
    governor.forget_old_usage()
