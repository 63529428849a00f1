"""Doorbells of organizations: take ids, enter the tenant, call one service. Every one of them can run twice."""

from __future__ import annotations

from celery import shared_task

from accounts import exporting, idempotency, leaving, notification_mail, notifications, webhook_sending
from accounts.tenancy import tenant


@shared_task
def send_webhook(organization_id: str, webhook_id: str) -> None:
    with tenant(organization_id):
        webhook_sending.take_turn(webhook_id)


@shared_task
def sweep_webhooks() -> None:
    webhook_sending.ring_due()


@shared_task
def make_export(organization_id: str, export_id: str) -> None:
    with tenant(organization_id):
        exporting.make_export(export_id)


@shared_task
def sweep_exports() -> None:
    exporting.sweep_exports()


@shared_task
def forget_webhook_deliveries() -> None:
    webhook_sending.forget_old()


@shared_task
def purge_organizations() -> None:
    leaving.purge_due()


@shared_task
def forget_idempotency_keys() -> None:
    idempotency.forget_old()


@shared_task
def send_notifications(organization_id: str) -> None:
    with tenant(organization_id):
        notification_mail.send_due()


@shared_task
def send_digest(organization_id: str, user_id: str) -> None:
    with tenant(organization_id):
        notification_mail.send_digest(user_id)


@shared_task
def sweep_notifications() -> None:
    notification_mail.ring_due()


@shared_task
def forget_notifications() -> None:
    notifications.forget_old()
