"""Whose e-mail address is known to be theirs."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.db import transaction

from accounts import clock
from accounts.models import User


@transaction.atomic
def vouch_for(user: User) -> None:
    """Take it from the operator that the person's address is theirs: it counts as verified, and signs them in.

    Raises IntegrityError when somebody else has verified that address.
    """
    addresses = EmailAddress.objects.filter(user=user)
    addresses.update(primary=False)
    known, _ = EmailAddress.objects.get_or_create(user=user, email=user.email.lower())
    EmailAddress.objects.filter(pk=known.pk).update(verified=True, primary=True)


def person_with(email: str) -> User | None:
    """The person who signs in with this address, in any case: their main one or another one that they verified."""
    mine = EmailAddress.objects.filter(email=email.lower(), verified=True).values("user")
    return User.objects.filter(email__iexact=email).first() or User.objects.filter(pk__in=mine).first()


def spend_link(user: User) -> bool:
    """Use up a sign-in link, which hashes the time of the last sign-in. False for whoever was second with it."""
    return User.objects.filter(pk=user.pk, last_login=user.last_login).update(last_login=clock.now()) == 1


def has_address(user: User, email: str) -> bool:
    """Whether the address is the person's, and they showed that its mails reach them."""
    return EmailAddress.objects.filter(user=user, email=email.lower(), verified=True).exists()
