"""Every write about people and organizations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.db import transaction
from django.urls import reverse
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from django.utils.text import slugify

from accounts import audit, clock
from accounts.models import Membership, Organization, User
from accounts.roles import Role
from accounts.tenancy import tenant

DEMO_EMAIL = "demo@kilroy.example"
DELETED = "deleted-"
"""How the slugs of organizations begin that are no more, and of no others."""


RESUME_OBSTACLES: list[Callable[[Organization], str]] = []
"""What higher rooms hold against resuming the active organization, in words; "" for nothing."""


class _SignInLinks(PasswordResetTokenGenerator):
    """Links that sign one person in once: they hash the time of the last sign-in, so using one spends it."""

    key_salt = "accounts.sign_in_link"

    def _make_hash_value(self, user: Any, timestamp: int) -> str:
        # Django leaves the microseconds out: a link made and used within the second of a sign-in would not be spent.
        return f"{super()._make_hash_value(user, timestamp)}{user.last_login.isoformat() if user.last_login else ''}"


sign_in_links = _SignInLinks()


@transaction.atomic
def create_organization(name: str, owner: User) -> Organization:
    """Create an organization with its owner. Its slug comes from the name, with a number behind where it is taken."""
    organization = Organization.objects.create(name=name, slug=_free_slug(name))
    with tenant(organization.pk):
        membership = Membership.objects.create(user=owner, role=Role.OWNER)
        audit.record("organization.create", organization, after={"name": name})
        audit.record("membership.create", membership, after={"user": owner.email, "role": Role.OWNER})
    return organization


def _free_slug(name: str) -> str:
    base = slugify(name)[:50] or "organization"
    if base.startswith(DELETED):
        base = f"the-{base}"
    slug, number = base, 2
    while Organization.objects.filter(slug=slug).exists():
        slug, number = f"{base}-{number}", number + 1
    return slug


@transaction.atomic
def pause_organization(organization: Organization) -> None:
    """From now on no send of this organization begins."""
    _set_paused(organization, clock.now(), "organization.pause")


@transaction.atomic
def resume_organization(organization: Organization) -> None:
    """Undo a pause. Slots that passed meanwhile count as missed. Raises ValidationError for an organization that is
    about to be deleted, or that the operator suspends.
    """
    if organization.deletion_requested_at:
        raise ValidationError(f"{organization} is about to be deleted: an owner can undo that, which also resumes it.")
    for obstacle in RESUME_OBSTACLES:
        if words := obstacle(organization):
            raise ValidationError(words)
    _set_paused(organization, None, "organization.resume")


def _set_paused(organization: Organization, moment: datetime | None, action: str) -> None:
    from accounts.webhooks import emit  # not above: webhooks tell owners by this module

    before, organization.paused_at = organization.paused_at, moment
    organization.save(update_fields=["paused_at"])
    audit.record(action, organization, before={"paused_at": before}, after={"paused_at": moment})
    emit(f"{action}d", {"state": "paused" if moment else "active"})


def tell_owners(organization_id: UUID, subject: str, body: str) -> None:
    """Mail an organization's owners and admins once the transaction has committed. A mail that cannot be sent is
    logged: it must not undo the work.
    """
    # everyone: a worker may tell of an organization whose tenant it has left already.
    owners = Membership.everyone.filter(organization=organization_id, role__in=[Role.OWNER, Role.ADMIN])
    addresses = list(owners.values_list("user__email", flat=True))

    def send() -> None:
        for address in addresses:
            send_mail(f"Kilroy: {subject}", body, None, [address])

    transaction.on_commit(send, robust=True)


def sign_in_link(user: User) -> str:
    """Path of a link that signs this person in once."""
    return reverse(
        "accounts:sign-in-link", args=[urlsafe_base64_encode(str(user.pk).encode()), sign_in_links.make_token(user)]
    )


def user_of_link(uid: str, token: str) -> User | None:
    """The person whom an unused sign-in link names."""
    try:
        user = User.objects.get(pk=urlsafe_base64_decode(uid).decode(), is_active=True)
    except (ValueError, ValidationError, User.DoesNotExist):  # a malformed uuid is a ValidationError
        return None
    return user if sign_in_links.check_token(user, token) else None
