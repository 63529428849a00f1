"""Organizations: begun, renamed, secured by a second factor. Their end is in `accounts.leaving`."""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction

from accounts import audit
from accounts.models import Membership, Organization, User
from accounts.roles import Role
from accounts.second_factor import has_second_factor
from accounts.services import create_organization

MOST_OWNED = 20
"""Organizations that one person may own: quotas hold per organization, so their number must end somewhere."""


def begin_organization(name: str, owner: User) -> Organization:
    """Create an organization for a person who asks for one. Raises ValidationError."""
    # everyone: how many a person owns is counted across organizations.
    if Membership.everyone.filter(user=owner, role=Role.OWNER).count() >= MOST_OWNED:
        raise ValidationError(f"You own {MOST_OWNED} organizations, which is the most. Delete or hand over one first.")
    return create_organization(checked_name(name), owner)


def checked_name(name: str) -> str:
    """A name without blanks around it. Raises ValidationError."""
    name = name.strip()
    if not name or len(name) > 120 or "\0" in name:
        raise ValidationError({"name": "A name has between 1 and 120 characters."})
    return name


def locked_organization(organization_id: UUID) -> Organization:
    """The organization's row, locked until the transaction ends: whoever changes who belongs to it, and as what, holds
    it, so that two such changes cannot each rely on what the other one takes away.
    """
    return Organization.objects.select_for_update(no_key=True).get(pk=organization_id)


@transaction.atomic
def rename_organization(organization_id: UUID, name: str) -> Organization:
    """Give an organization another name. Its slug, and with it every address, stays. Raises ValidationError."""
    organization = locked_organization(organization_id)
    before, organization.name = organization.name, checked_name(name)
    if before != organization.name:
        organization.save(update_fields=["name"])
        audit.record("organization.rename", organization, before={"name": before}, after={"name": organization.name})
    return organization


@transaction.atomic
def demand_second_factor(by: Membership, demanded: bool) -> Organization:
    """Keep members without a second factor out, or no longer. For owners, and only those who would not lock themselves
    out. Raises PermissionDenied, ValidationError.
    """
    organization = locked_organization(by.organization_id)
    if Membership.objects.get(pk=by.pk).role != Role.OWNER:
        raise PermissionDenied("Only owners decide whether a second factor is demanded.")
    if organization.demands_mfa == demanded:
        return organization
    if demanded and not has_second_factor(by.user):
        raise ValidationError({"demands_mfa": "Add a second factor to your own account first: you would be kept out."})
    organization.demands_mfa = demanded
    organization.save(update_fields=["demands_mfa"])
    audit.record(
        "organization.second_factor",
        organization,
        before={"demands_mfa": not demanded},
        after={"demands_mfa": demanded},
    )
    return organization
