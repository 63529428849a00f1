"""Exports of an organization: asked for by an owner, made by a task, fetched by a signed link, gone after a day."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.signing import BadSignature, TimestampSigner
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from accounts import audit, clock
from accounts.doorbell import ring
from accounts.export_archive import write_archive
from accounts.models import AuditEntry, Export, Membership
from accounts.notifications import tell
from accounts.organizations import locked_organization
from accounts.tenancy import active, tenant

log = logging.getLogger(__name__)

MAKE = "accounts.tasks.make_export"
LIFETIME = timedelta(hours=24)
MOST_A_DAY = 5
LEASE = timedelta(minutes=30)
"""Longer than reading the rows takes; while files are copied it is renewed."""
RENEW_EVERY = 60.0
GIVE_UP_AFTER = timedelta(days=1)
REQUEST = "export.request"
WAITING = (Export.State.QUEUED, Export.State.RUNNING)
_links = TimestampSigner(salt="accounts.exports")


class _Overtaken(Exception):
    """The export was deleted, or made by somebody else, while it was being made here."""


@transaction.atomic
def request_export() -> Export:
    """Ask for an export of the active organization. Raises ValidationError while one is being made, and after the
    day's last.
    """
    organization = locked_organization(active())
    if Export.objects.filter(state__in=WAITING).exists():
        raise ValidationError("An export is being made already: wait until it is ready, or delete it.")
    since = clock.now() - timedelta(days=1)
    asked = AuditEntry.objects.filter(action=REQUEST, at__gt=since).order_by("at")
    if asked.count() >= MOST_A_DAY:
        free = asked[asked.count() - MOST_A_DAY].at + timedelta(days=1)
        raise ValidationError(
            f"{MOST_A_DAY} exports were asked for within 24 hours, which is the most. "
            f"The next one may be asked for on {free:%d %B at %H:%M} UTC."
        )
    export: Export = Export.objects.create(requested_by=audit.actor().label)
    audit.record(REQUEST, export, after={"organization": organization.name})
    ring(MAKE, organization.pk, export.pk)
    return export


def make_export(export_id: UUID | str) -> None:
    """Make a waiting export. Does nothing when it is made already, or by another worker; what a worker that died had
    begun starts over.
    """
    export = _claim(export_id)
    if export is None:
        return
    try:
        _make(export)
    except _Overtaken:
        log.info("export %s is wanted no more", export.pk)
    except Exception as error:  # what went wrong becomes state; asking again starts over
        log.exception("export %s could not be made", export.pk)
        _fail(export, f"The export could not be made ({type(error).__name__}). Ask for a new one.")


def _claim(export_id: UUID | str) -> Export | None:
    free = Q(state=Export.State.QUEUED) | Q(state=Export.State.RUNNING, lease_until__lt=Now())
    taken = Export.objects.filter(free, pk=export_id).update(state=Export.State.RUNNING, lease_until=Now() + LEASE)
    return Export.objects.get(pk=export_id) if taken else None


def _make(export: Export) -> None:
    folder = Path(settings.VAR) / "work" / "exports"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder) as file:
        rows = write_archive(file, export.organization_id, _renewal(export))
        _store(export, file, rows)


def _renewal(export: Export) -> Callable[[], None]:
    """What keeps the lease while files are copied. Raises _Overtaken once the export is no longer wanted."""
    renewed = time.monotonic()

    def keep_going() -> None:
        nonlocal renewed
        if time.monotonic() - renewed > RENEW_EVERY:
            renewed = time.monotonic()
            mine = Export.objects.filter(pk=export.pk, state=Export.State.RUNNING)
            if not mine.update(lease_until=Now() + LEASE):
                raise _Overtaken

    return keep_going


def _store(export: Export, made: IO[bytes], rows: dict[str, int]) -> None:
    size = made.seek(0, os.SEEK_END)
    made.seek(0)
    name = default_storage.save(f"exports/{export.pk}.zip", File(made))
    try:
        with transaction.atomic():
            _book(export, name, size, rows)
    except BaseException:
        default_storage.delete(name)
        raise


def _book(export: Export, name: str, size: int, rows: dict[str, int]) -> None:
    """Note that the export is ready, unless it was deleted or made by somebody else meanwhile."""
    now = clock.now()
    booked = Export.objects.filter(pk=export.pk, state=Export.State.RUNNING).update(
        state=Export.State.READY,
        name=name,
        size=size,
        rows=rows,
        lease_until=None,
        finished_at=now,
        expires_at=now + LIFETIME,
    )
    if not booked:
        raise _Overtaken
    export.refresh_from_db()
    audit.record("export.finish", export, after={"size": size, "rows": sum(rows.values())})
    _tell(export)


@transaction.atomic
def _fail(export: Export, error: str) -> None:
    failed = Export.objects.filter(pk=export.pk, state__in=WAITING).update(
        state=Export.State.FAILED, error=error[:500], lease_until=None, finished_at=clock.now()
    )
    if failed:
        audit.record("export.fail", export, after={"error": error[:500]})


def _tell(export: Export) -> None:
    """Tell the person who asked, if they may still have it. The link itself is on the page, behind their sign-in."""
    asked = Membership.objects.filter(user__email=export.requested_by).values_list("user_id", flat=True)
    path = reverse("accounts:exports", args=[export.organization.slug])
    text = f"It can be downloaded until {export.expires_at:%d %B %Y at %H:%M} UTC."
    tell("export.ready", "Your export is ready", path, text, f"export {export.pk}", users=asked)


def link_of(export: Export) -> str:
    """Path of a link that downloads this export, for whoever has it, until the export ends; "" when it cannot be."""
    if not is_there(export):
        return ""
    signed = _links.sign_object({"export": str(export.pk), "organization": str(export.organization_id)})
    return reverse("accounts:export-download", args=[signed])


def export_of_link(signed: str) -> Export | None:
    """The export that a signed link names, as long as it can be downloaded."""
    try:
        named: dict[str, Any] = _links.unsign_object(signed, max_age=LIFETIME)
    except BadSignature:
        return None
    with tenant(named["organization"]):
        export: Export | None = Export.objects.filter(pk=named["export"]).first()
        return export if export is not None and is_there(export) else None


def is_there(export: Export) -> bool:
    """Whether the export's file can be downloaded now."""
    return bool(
        export.state == Export.State.READY and export.name and export.expires_at and export.expires_at > clock.now()
    )


@transaction.atomic
def delete_export(export_id: UUID | str) -> None:
    """Remove an export, or call it off; its links end. Raises Export.DoesNotExist."""
    export = Export.locked(export_id)
    audit.record("export.delete", export, before={"state": export.state, "size": export.size})
    _remove_file(export.name)
    export.delete()


def sweep_exports() -> None:
    """Remove the files of exports that have ended, and ring for those whose bell was lost or whose worker died. One
    that nobody could finish within a day is given up.
    """
    # everyone: beat's sweep finds the exports of all organizations, then enters each one's tenant.
    ended = Export.everyone.filter(state=Export.State.READY, expires_at__lte=clock.now()).exclude(name="")
    for export in ended:
        with tenant(export.organization_id):
            _expire(export.pk)
    # everyone: likewise.
    waiting = Export.everyone.filter(Q(lease_until=None) | Q(lease_until__lt=Now()), state__in=WAITING)
    for export in waiting:
        with tenant(export.organization_id):
            if export.created_at < clock.now() - GIVE_UP_AFTER:
                _fail(export, "The export could not be made within a day. Tell whoever runs this installation.")
            else:
                ring(MAKE, export.organization_id, export.pk)


@transaction.atomic
def _expire(export_id: UUID) -> None:
    export = Export.objects.select_for_update().filter(pk=export_id).exclude(name="").first()
    if export is not None:
        audit.record("export.expire", export, before={"size": export.size})
        _remove_file(export.name)
        Export.objects.filter(pk=export.pk).update(name="")


def purge() -> dict[str, Any]:
    """Remove the active organization's exports from the storage, which is about to be left."""
    for name in Export.objects.exclude(name="").values_list("name", flat=True):
        default_storage.delete(name)
    return {}


def _remove_file(name: str) -> None:
    if name:
        transaction.on_commit(lambda: default_storage.delete(name), robust=True)
