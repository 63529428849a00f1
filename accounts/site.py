"""The operator's switch for the whole installation, and the pulse by which a restored database is recognised.

Every few seconds the database's time is written to its one `Site` row, and once that is committed to witnesses outside:
a file in the data folder and Redis. A witness that is ahead of the row says that the database was put back to an
earlier moment: what was published since is not in it.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models.functions import Now

from accounts import audit, clock
from accounts.models import Site

log = logging.getLogger(__name__)

LAG = timedelta(seconds=60)
"""How far a database may be behind a witness: more than a pulse or two is lost commits."""
WITNESS = "kilroy.pulse"
RESTORED = (
    "The database was put back to an earlier moment: posts may be out that it does not know of. "
    "Look at those that need a person, then run `manage.py resume`."
)


def paused() -> str:
    """Why nothing of this installation is published; empty while things are."""
    # Before the row: a pulse reaches the row first, so that a row read later is never behind by itself.
    seen = _in_file()
    row = Site.objects.filter(pk=1).first()
    if row is None:
        return ""
    if row.paused_at:
        return row.pause_reason or "The operator paused this installation."
    return RESTORED if _behind(row.pulse_at, seen) else ""


def pause_site(reason: str = "") -> None:
    """From now on no send begins anywhere in this installation."""
    reason = reason.replace("\0", "")[:500]
    Site.objects.update_or_create(pk=1, defaults={"paused_at": clock.now(), "pause_reason": reason})
    log.warning("publishing is paused by %s: %s", audit.actor().label, reason or "no reason given")


def resume_site() -> None:
    """Undo a pause. Slots that passed meanwhile count as missed."""
    Site.objects.update_or_create(pk=1, defaults={"paused_at": None, "pause_reason": ""})
    log.warning("publishing is resumed by %s", audit.actor().label)


def beat() -> None:
    """Write the present moment, by the database's clock, to the row and then to the witnesses."""
    Site.objects.update_or_create(pk=1, defaults={"pulse_at": Now()})
    moment = Site.objects.values_list("pulse_at", flat=True).get(pk=1)
    assert moment is not None  # just written
    transaction.on_commit(lambda: _witness(moment))


def lost_since() -> datetime | None:
    """The moment to which the database was put back; None while no witness is ahead of it. A database that has no pulse
    at all is a new one.
    """
    seen = max((moment for moment in (_in_file(), _in_redis()) if moment), default=None)
    pulse = Site.objects.filter(pk=1).values_list("pulse_at", flat=True).first()
    return pulse if _behind(pulse, seen) else None


def _behind(pulse: datetime | None, seen: datetime | None) -> bool:
    return pulse is not None and seen is not None and seen - pulse > LAG


def _file() -> Path:
    return Path(settings.VAR) / "pulse"


def _witness(moment: datetime) -> None:
    aside = _file().with_name(f"pulse.{os.getpid()}")
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_text(moment.isoformat())
    aside.replace(_file())
    try:
        cache.set(WITNESS, moment.isoformat(), None)
    except Exception as error:  # Redis has errors of its own kinds; the file has seen the pulse
        log.warning("the pulse did not reach Redis: %s", error)


def _in_file() -> datetime | None:
    try:
        return _parsed(_file().read_bytes().decode(errors="replace"))
    except OSError:
        return None


def _in_redis() -> datetime | None:
    try:
        return _parsed(cache.get(WITNESS) or "")
    except Exception as error:  # as above
        log.warning("Redis could not be asked for the pulse: %s", error)
        return None


def _parsed(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # a disk that was full while it was written
        return None
    return moment if moment.tzinfo else None
