"""The end of an organization, in two steps: an owner asks for it, and 14 days later it is carried out.

In between, nothing is published, trained or read, work cannot be changed (`accounts.access.why_closed`), and owners
can undo it. What remains afterwards is the organization's row without its name, and one line of its audit log: how many
rows of what there were, and what the rooms hand in as worth remembering (`register_purger`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.files.storage import default_storage
from django.db import connection, models, router, transaction

from accounts import audit, clock
from accounts.models import GRACE, AuditEntry, Organization
from accounts.organizations import locked_organization
from accounts.services import DELETED, tell_owners
from accounts.tenancy import TenantModel, tenant

log = logging.getLogger(__name__)

Purger = Callable[[], dict[str, Any]]
_purgers: list[Purger] = []


def register_purger(purger: Purger) -> None:
    """Have a function called, with the tenant active and all rows still there, when an organization is purged: it
    removes what its room keeps outside of rows and file fields, and returns what the audit log is to remember, as JSON.
    It may be called again after a kill.
    """
    _purgers.append(purger)


@transaction.atomic
def request_deletion(organization_id: UUID) -> Organization:
    """Pause everything of an organization and have it deleted in 14 days. Asking twice changes nothing."""
    organization = locked_organization(organization_id)
    if organization.deletion_requested_at:
        return organization
    before = _facts(organization)
    organization.deletion_requested_at = clock.now()
    organization.paused_at = organization.paused_at or organization.deletion_requested_at
    organization.save(update_fields=["deletion_requested_at", "paused_at"])
    audit.record("organization.delete", organization, before=before, after=_facts(organization))
    day = f"{organization.deletes_at:%-d %B %Y, %H:%M} UTC"
    tell_owners(
        organization.pk,
        f"{organization.name} will be deleted",
        f"{audit.actor().label} asked for {organization.name} to be deleted. Everything of it is paused as of now.\n\n"
        f"On {day} its bots, posts, datasets, models and members are removed for good. Until then an owner can undo "
        "this on the organization's settings page.",
    )
    return organization


@transaction.atomic
def undo_deletion(organization_id: UUID) -> Organization:
    """Let an organization live on; a pause from before the request stays. Raises ValidationError."""
    organization = locked_organization(organization_id)
    if organization.deletion_requested_at is None:
        raise ValidationError("Nobody asked for this organization to be deleted.")
    before = _facts(organization)
    if organization.paused_at == organization.deletion_requested_at:
        organization.paused_at = None
    organization.deletion_requested_at = None
    organization.save(update_fields=["deletion_requested_at", "paused_at"])
    audit.record("organization.undelete", organization, before=before, after=_facts(organization))
    tell_owners(
        organization.pk,
        f"{organization.name} will not be deleted",
        f"{audit.actor().label} took the deletion of {organization.name} back. Nothing is lost.",
    )
    return organization


def purge_due() -> int:
    """Carry out the deletions whose time has come. Returns how many. One that was cut short is begun again."""
    due = Organization.objects.filter(deletion_requested_at__lte=clock.now() - GRACE)
    purged = 0
    for organization_id in list(due.exclude(slug__startswith=DELETED).values_list("pk", flat=True)):
        try:
            with tenant(organization_id):
                purged += purge_organization(organization_id)
        except Exception:  # one organization's storage must not keep the others'
            log.exception("organization %s could not be deleted", organization_id)
    return purged


@transaction.atomic
def purge_organization(organization_id: UUID) -> bool:
    """Remove everything of the active organization whose time has come. False when there is nothing to do, or another
    worker is at it.

    Files go first and rows last, in one transaction: what is cut short leaves the rows that lead to the files.
    """
    rows = Organization.objects.select_for_update(skip_locked=True)
    organization = rows.filter(pk=organization_id, deletion_requested_at__lte=clock.now() - GRACE).first()
    if organization is None or organization.slug.startswith(DELETED):
        return False
    tell_owners(
        organization.pk,
        f"{organization.name} was deleted",
        f"{organization.name} was removed with everything that belonged to it, as was asked for 14 days ago.",
    )
    asked = AuditEntry.objects.filter(action="organization.delete").first()
    remembered: dict[str, Any] = {"requested_by": str(asked.user_id) if asked else None}
    for purger in _purgers:
        remembered |= purger()
    _remove_files()
    remembered["rows"] = _remove_rows(organization.pk)
    _blank(organization)
    audit.record("organization.purge", organization, after=remembered)
    return True


def _blank(organization: Organization) -> None:
    """What remains of the row: nobody's name, and a slug that no other organization can have."""
    organization.slug = organization.name = f"{DELETED}{organization.pk.hex}"
    organization.demands_mfa, organization.quotas = False, {}
    organization.save()


def _remove_files() -> None:
    for model in tenant_models():
        for field in model._meta.local_fields:
            if isinstance(field, models.FileField):
                for name in model._default_manager.exclude(**{field.name: ""}).values_list(field.name, flat=True):
                    field.storage.delete(name)


def _remove_rows(organization_id: UUID) -> dict[str, int]:
    """How many rows of each kind there were. (Foreign keys are looked at when the transaction commits: order does not
    matter.)
    """
    with connection.cursor() as cursor:  # the audit log's trigger lets the lines of this one organization go
        cursor.execute("SELECT set_config('kilroy.leaving', %s, true)", [str(organization_id)])
    counts = {}
    for model in tenant_models():
        gone = model._default_manager.all()._raw_delete(router.db_for_write(model))
        if gone:
            counts[model._meta.label_lower] = gone
    return counts


def tenant_models() -> Iterator[type[TenantModel]]:
    """Every kind of row that an organization owns."""
    for model in apps.get_models():
        if issubclass(model, TenantModel):
            yield model


def remove_folder(prefix: str) -> None:
    """Remove everything below a prefix from the storage. Nothing there is as good."""
    try:
        folders, files = default_storage.listdir(prefix)
    except FileNotFoundError:
        return
    for name in folders:
        remove_folder(f"{prefix}/{name}")
    for name in files:
        default_storage.delete(f"{prefix}/{name}")
    default_storage.delete(prefix)


def _facts(organization: Organization) -> dict[str, Any]:
    moments = {"deletion_requested_at": organization.deletion_requested_at, "paused_at": organization.paused_at}
    return {name: moment.isoformat() if moment else None for name, moment in moments.items()}
