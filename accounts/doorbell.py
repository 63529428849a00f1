"""Doorbells: a message that a row has work for someone. The row is the truth; a doorbell that is lost costs seconds,
never work.
"""

from __future__ import annotations

from uuid import UUID

from celery import current_app
from django.db import transaction

EXPIRES = 20
"""Seconds after which an unheard bell is forgotten: the sweepers ring again every 15, and bells must not pile up while
workers are behind.
"""


def ring(task: str, *ids: UUID | str | int, after: float = 0.0) -> None:
    """Send the task its ids once the surrounding transaction has committed, to be heard `after` some seconds (at most
    60: a broker is no calendar). A broker that is down is logged: beat's sweepers find the row.
    """
    arguments = [value if isinstance(value, int) else str(value) for value in ids]

    def send() -> None:
        late = {"countdown": after} if after else {}
        current_app.send_task(task, args=arguments, retry=False, expires=after + EXPIRES, **late)

    transaction.on_commit(send, robust=True)
