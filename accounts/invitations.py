"""Invitations: a place in an organization, offered by e-mail to one address for seven days."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse

from accounts import audit, clock
from accounts.members import check_grant
from accounts.models import AuditEntry, Invitation, Membership, Organization, User
from accounts.notifications import tell
from accounts.organizations import locked_organization
from accounts.people import has_address
from accounts.roles import allows, outranks
from accounts.tenancy import tenant
from accounts.tokens import token_hash

VALID = timedelta(days=7)
MOST_OPEN = 50
MOST_SENT_A_DAY = 100
"""Mails: revoking and inviting again must not make a mail cannon of us."""
SENT = ("invitation.create", "invitation.renew")


@transaction.atomic
def invite(by: Membership, email: str, role: str) -> Invitation:
    """Offer a place to an e-mail address, and mail the link there. An invitation that the address has already is
    renewed: a new link with this role; the old link ends.

    Raises PermissionDenied for a role above one's own, ValidationError for a member's address and beyond the limits.
    """
    organization = locked_organization(by.organization_id)
    by = Membership.objects.select_related("user").get(pk=by.pk)
    check_grant(by, role)
    _check_room(organization, email)
    known = _open().filter(email__iexact=email).first()
    if known is not None:
        check_grant(by, known.role)
    invitation = known or Invitation(email=email)
    before = _facts(known) if known else {}
    secret = secrets.token_urlsafe(32)
    invitation.role, invitation.invited_by = role, by.user.email
    invitation.sha256, invitation.expires_at = token_hash(secret), clock.now() + VALID
    invitation.save()
    audit.record(SENT[1] if known else SENT[0], invitation, before=before, after=_facts(invitation))
    _mail(organization, invitation, secret)
    return invitation


def resend(by: Membership, invitation_id: UUID) -> Invitation:
    """Renew an invitation that nobody accepted: seven days more, with a new link. Raises like `invite`, and
    Invitation.DoesNotExist.
    """
    invitation = Invitation.objects.get(pk=invitation_id)
    if invitation.accepted_at or invitation.revoked_at:
        raise ValidationError("This invitation was accepted or revoked: invite the person anew.")
    return invite(by, invitation.email, invitation.role)


@transaction.atomic
def revoke(by: Membership, invitation_id: UUID) -> Invitation:
    """End an invitation. Raises Invitation.DoesNotExist, PermissionDenied for a role above one's own, ValidationError
    for one that was accepted.
    """
    invitation = Invitation.locked(invitation_id)
    check_grant(by, invitation.role)
    if invitation.accepted_at:
        raise ValidationError("This invitation was accepted: remove the member instead.")
    if invitation.revoked_at is None:
        invitation.revoked_at = clock.now()
        invitation.save(update_fields=["revoked_at"])
        audit.record("invitation.revoke", invitation, before=_facts(invitation))
    return invitation


def find_invitation(secret: str) -> Invitation | None:
    """The invitation with this link, in whatever state."""
    # everyone: the link is what tells us the organization.
    return Invitation.everyone.select_related("organization").filter(sha256=token_hash(secret)).first()


def get_invitation(invitation_id: str | None) -> Invitation | None:
    """The invitation with this id, for somebody who held its link before."""
    if invitation_id is None:
        return None
    # everyone: as above.
    return Invitation.everyone.select_related("organization").filter(pk=invitation_id).first()


def why_closed(invitation: Invitation) -> str:
    """Why an invitation cannot be accepted, in words for whoever holds it; "" while it can."""
    ask = f"Ask {invitation.invited_by} for a new one."
    if invitation.accepted_at:
        return "This invitation was accepted already."
    if invitation.revoked_at:
        return f"This invitation was revoked. {ask}"
    if invitation.expires_at <= clock.now():
        return f"This invitation has expired. {ask}"
    if invitation.organization.deletion_requested_at:
        return f"{invitation.organization} is about to be deleted and takes nobody in."
    return ""


@transaction.atomic
def accept(invitation: Invitation, user: User) -> Membership:
    """Make the person whom an invitation names a member; they hold its link. Raises PermissionDenied for another person
    than the one invited, ValidationError for an invitation that is closed.
    """
    with tenant(invitation.organization_id):
        organization = locked_organization(invitation.organization_id)
        invitation = Invitation.locked(invitation.pk)
        invitation.organization = organization
        if told := why_closed(invitation):
            raise ValidationError(told)
        if not has_address(user, invitation.email):
            raise PermissionDenied(f"This invitation is for {invitation.email}: sign in with that address.")
        if not _inviter_may(invitation):
            raise ValidationError("Whoever invited you may do so no longer: ask an owner or admin to invite you anew.")
        invitation.accepted_at = clock.now()
        invitation.save(update_fields=["accepted_at"])
        audit.record("invitation.accept", invitation, before=_facts(invitation), after={"user": user.email})
        member, new = Membership.objects.get_or_create(user=user, defaults={"role": invitation.role})
        if new:
            audit.record("membership.create", member, after={"user": user.email, "role": member.role})
            _tell_others(organization, member)
        return member


def _tell_others(organization: Organization, member: Membership) -> None:
    others = Membership.objects.exclude(pk=member.pk).values_list("user_id", flat=True)
    path = reverse("accounts:members", args=[organization.slug])
    tell("member.joined", f"{member.user} joined as {member.get_role_display().lower()}", path, users=others)


def _inviter_may(invitation: Invitation) -> bool:
    """Whether the one who invited could still do it: nobody returns by an invitation that they wrote themselves."""
    roles = Membership.objects.filter(user__email=invitation.invited_by, user__is_active=True)
    role = roles.values_list("role", flat=True).first()
    return role is not None and allows(role, "member_manage") and not outranks(invitation.role, role)


def _open() -> Any:
    return Invitation.objects.select_for_update().filter(accepted_at=None, revoked_at=None)


def _check_room(organization: Organization, email: str) -> None:
    if organization.deletion_requested_at:
        raise ValidationError(f"{organization} is about to be deleted and takes nobody in.")
    if Membership.objects.filter(user__email__iexact=email).exists():
        raise ValidationError({"email": f"{email} is a member already."})
    others = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=clock.now())
    if others.exclude(email__iexact=email).count() >= MOST_OPEN:
        raise ValidationError(f"{MOST_OPEN} invitations are open, which is the most: revoke some, or wait for answers.")
    sent = AuditEntry.objects.filter(action__in=SENT, at__gt=clock.now() - timedelta(days=1))
    if sent.count() >= MOST_SENT_A_DAY:
        raise ValidationError(f"{MOST_SENT_A_DAY} invitations were sent in 24 hours, which is the most: wait a while.")


def _facts(invitation: Invitation) -> dict[str, Any]:
    return {
        "email": invitation.email,
        "role": invitation.role,
        "invited_by": invitation.invited_by,
        "expires_at": invitation.expires_at.isoformat(),
    }


def _mail(organization: Organization, invitation: Invitation, secret: str) -> None:
    """Send the link once the transaction has committed: it stands nowhere else, so that no worker could."""
    address = settings.PUBLIC_URL + reverse("accounts:follow-invitation", args=[secret])
    told = {"organization": organization, "invitation": invitation, "address": address}
    body = render_to_string("accounts/email/invitation.txt", told)
    subject = f"Kilroy: {invitation.invited_by} invites you to {' '.join(organization.name.split())}"

    def send() -> None:
        send_mail(subject, body, None, [invitation.email])

    transaction.on_commit(send, robust=True)
