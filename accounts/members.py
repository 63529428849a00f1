"""Who belongs to an organization, and as what.

Every verb holds the organization's row while it looks and changes: two owners who leave at the same moment cannot each
count on the other one staying. Members are named by their person's id.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction

from accounts import audit, clock, notifications
from accounts.models import Invitation, Membership
from accounts.organizations import locked_organization
from accounts.roles import Role, outranks

LAST_OWNER = "An organization needs an owner: make another member owner first."


@transaction.atomic
def change_role(by: Membership, person_id: UUID, role: str) -> Membership:
    """Give a member another role. Raises Membership.DoesNotExist, PermissionDenied for a role or a member above one's
    own, ValidationError for the last owner.
    """
    by, member = _locked(by, person_id)
    check_grant(by, role)
    if member.role == role:
        return member
    _check_not_last(member)
    _give(member, role)
    return member


@transaction.atomic
def remove_member(by: Membership, person_id: UUID) -> None:
    """End a membership. The person's API tokens go with it, and the invitations that they sent and nobody accepted are
    revoked. Raises like `change_role`.
    """
    _, member = _locked(by, person_id)
    _end(member, "membership.remove")


@transaction.atomic
def leave(membership: Membership) -> None:
    """End one's own membership, with what `remove_member` ends. Raises ValidationError for the last owner."""
    locked_organization(membership.organization_id)
    _end(_present(membership), "membership.leave")


@transaction.atomic
def transfer_ownership(by: Membership, person_id: UUID) -> Membership:
    """Make another member owner, and oneself an admin. Raises Membership.DoesNotExist, PermissionDenied,
    ValidationError.
    """
    by, member = _locked(by, person_id)
    if by.role != Role.OWNER:
        raise PermissionDenied("Only an owner can hand the organization over.")
    if by.pk == member.pk:
        raise ValidationError({"member": "Choose somebody else: you own this organization already."})
    if not member.user.is_active:
        raise ValidationError({"member": f"{member.user.email} cannot sign in: choose somebody else."})
    if member.role != Role.OWNER:
        _give(member, Role.OWNER)
    _give(by, Role.ADMIN)
    return member


def is_last_owner(member: Membership) -> bool:
    """Whether nobody else owns the organization who can sign in."""
    others = Membership.objects.filter(role=Role.OWNER, user__is_active=True).exclude(pk=member.pk)
    return member.role == Role.OWNER and not others.exists()


def check_grant(by: Membership, role: str) -> None:
    """Refuse to grant a role above one's own. Raises PermissionDenied."""
    if outranks(role, by.role):
        raise PermissionDenied(f"Your role ({by.get_role_display()}) cannot make anybody {Role(role).label.lower()}.")


def _locked(by: Membership, person_id: UUID) -> tuple[Membership, Membership]:
    """Who acts and on whom, as they are now that nobody else can change them."""
    locked_organization(by.organization_id)
    by = _present(by)
    member: Membership = Membership.objects.select_related("user").get(user_id=person_id)
    if not by.allows("member_manage"):
        raise PermissionDenied(f"Your role ({by.get_role_display()}) does not allow this.")
    if outranks(member.role, by.role):
        raise PermissionDenied(f"Your role ({by.get_role_display()}) cannot touch an {member.role}.")
    return by, member


def _present(membership: Membership) -> Membership:
    """The membership as it is now. Raises PermissionDenied for one that ended meanwhile."""
    present: Membership | None = Membership.objects.select_related("user").filter(pk=membership.pk).first()
    if present is None:
        raise PermissionDenied("You are no member of this organization any more.")
    return present


def _give(member: Membership, role: str) -> None:
    before, member.role = member.role, role
    member.save(update_fields=["role"])
    facts = _facts(member)
    audit.record("membership.role", member, before={**facts, "role": before}, after=facts)
    if outranks(before, role):
        _revoke_invitations(member)


def _end(member: Membership, action: str) -> None:
    _check_not_last(member)
    _revoke_invitations(member)
    tokens = [f"{name} ({prefix}…)" for name, prefix in member.tokens.values_list("name", "prefix")]
    audit.record(action, member, before={**_facts(member), "tokens": tokens})
    notifications.forget(member.user_id)
    member.delete()


def _check_not_last(member: Membership) -> None:
    if is_last_owner(member):
        raise ValidationError(LAST_OWNER)


def _revoke_invitations(member: Membership) -> None:
    """Whoever goes, or may do less from now on, must not come back by an invitation of their own."""
    for invitation in Invitation.objects.filter(invited_by=member.user.email, accepted_at=None, revoked_at=None):
        invitation.revoked_at = clock.now()
        invitation.save(update_fields=["revoked_at"])
        before = {"email": invitation.email, "role": invitation.role, "invited_by": invitation.invited_by}
        audit.record("invitation.revoke", invitation, before=before)


def _facts(member: Membership) -> dict[str, Any]:
    return {"user": member.user.email, "role": member.role}
