"""How connections are, looked at in the background: once a day each, and sooner where something is wrong."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.cache import cache
from django.db.models import Q

from accounts import clock
from accounts.doorbell import ring
from faces.contract import FaceError
from faces.models import Connection
from faces.services import check_connection

log = logging.getLogger(__name__)

DAILY, BROKEN = timedelta(hours=20), timedelta(hours=1)
"""How long a finding stands: a day, a little less because some platforms keep what happened for 24 hours only; a broken
connection may be mended on its platform, so it is asked again sooner.
"""
MOST_AT_ONCE = 200
SECONDS_BETWEEN = 300
CHECK = "faces.tasks.check_connection"
CHECKED = "connection-check"


def ring_due() -> int:
    """Ring for the connections whose last check is too old. One that could not be asked is tried at every sweep."""
    now = clock.now()
    old = Q(checked_at=None) | Q(checked_at__lt=now - DAILY)
    broken = Q(state=Connection.State.BROKEN, checked_at__lt=now - BROKEN)
    # everyone: the sweep finds connections of all organizations; whoever hears the bell enters the tenant.
    due = Connection.everyone.filter(old | broken, organization__deletion_requested_at=None).order_by("checked_at")
    due = due.only("pk", "organization_id")[:MOST_AT_ONCE]
    for connection in due:
        ring(CHECK, connection.organization_id, connection.pk)
    return len(due)


def check_soon(connection: Connection) -> None:
    """Have a connection checked in the background, after its platform said something unexpected."""
    ring(CHECK, connection.organization_id, connection.pk)


def forget_checks() -> dict[str, Any]:
    """Remove what the cache has of the active organization's connections, at its end."""
    cache.delete_many([f"{CHECKED}:{pk}" for pk in Connection.objects.values_list("pk", flat=True)])
    return {}


def check_in_background(connection_id: UUID | str) -> bool:
    """Check a connection unless that was done a moment ago. Returns whether the platform was asked and answered."""
    # A claim that may get lost: asking twice does no harm, asking for every post that fails would.
    if not cache.add(f"{CHECKED}:{connection_id}", 1, timeout=SECONDS_BETWEEN):
        return False
    try:
        check_connection(connection_id)
    except Connection.DoesNotExist:
        return False
    except FaceError as error:  # broken credentials are booked; anything else passes, or is asked again
        log.info("connection %s could not be checked: %s", connection_id, error)
        return False
    return True
