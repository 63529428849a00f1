"""Doorbells: a message that a row has work for someone. The row is the truth; a doorbell that is lost costs seconds,
never work.
"""

from __future__ import annotations

from uuid import UUID

from celery import current_app
from django.db import transaction

EXPIRES = 60
"""Seconds after which an unheard bell is forgotten: the sweepers have rung again by then."""


def ring(task: str, *ids: UUID | str | int) -> None:
    """Send the task its ids once the surrounding transaction has committed. A broker that is down is logged: beat's
    sweepers find the row.
    """
    arguments = [value if isinstance(value, int) else str(value) for value in ids]

    def send() -> None:
        current_app.send_task(task, args=arguments, retry=False, expires=EXPIRES)

    transaction.on_commit(send, robust=True)
