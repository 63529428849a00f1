"""API tokens: keys for programs, bound to a membership. A token does what its scopes and its person's role both allow
at that moment, and no more; its secret is shown once and stored as a SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction

from accounts import audit, clock
from accounts.models import ApiToken, Membership
from accounts.roles import EVERY_PERMISSION, PERMISSIONS

PREFIX = "klr_"
SEEN_EVERY = timedelta(minutes=1)
"""A token's last use is as exact as this: its row is not written with each request."""


@transaction.atomic
def create_token(
    membership: Membership,
    name: str,
    *,
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
    by: ApiToken | None = None,
) -> tuple[ApiToken, str]:
    """Create a token for a member. Returns the row and the secret, which is shown this once and never stored.

    `scopes`: permissions of the member's role; None: all that it has at any time. `by` is the token that asks for it:
    what it makes has its scopes and its end where none are given. Raises ValidationError for scopes that the role or
    `by` do not have, and for an end that has passed or comes after the end of `by`.
    """
    if by is not None:
        scopes, expires_at = by.scopes if scopes is None else scopes, expires_at or by.expires_at
    chosen = None if scopes is None else _checked(scopes, membership)
    if expires_at is not None and expires_at <= clock.now():
        raise ValidationError({"expires_at": "This moment has passed: choose one to come, or none."})
    if by is not None:
        _demand_within(chosen, expires_at, by)
    secret = PREFIX + secrets.token_urlsafe(32)
    token: ApiToken = ApiToken.objects.create(
        membership=membership,
        name=name,
        prefix=secret[:12],
        sha256=token_hash(secret),
        scopes=chosen,
        expires_at=expires_at,
    )
    audit.record("token.create", token, after=_told(token))
    return token, secret


@transaction.atomic
def rotate_token(token_id: UUID | str, membership: Membership, *, by: ApiToken | None = None) -> tuple[ApiToken, str]:
    """Give a member's own token a new secret; the old one opens nothing from now on. Name, scopes and end stay.

    Raises DoesNotExist, PermissionDenied for another person's token (its new secret would let this one act as that
    one) or one that can more than `by`, and ValidationError for one that has ended.
    """
    token = ApiToken.locked(token_id)
    if token.membership_id != membership.pk:
        raise PermissionDenied("Only the person whose token this is can rotate it. You can revoke it.")
    if token.revoked_at or (token.expires_at and token.expires_at <= clock.now()):
        raise ValidationError("This token has ended. Make a new one.")
    if by is not None:
        _demand_within(token.scopes, token.expires_at, by)
    secret, before = PREFIX + secrets.token_urlsafe(32), token.prefix
    token.prefix, token.sha256 = secret[:12], token_hash(secret)
    token.save(update_fields=["prefix", "sha256"])
    audit.record("token.rotate", token, before={"prefix": before}, after={"prefix": token.prefix})
    return token, secret


@transaction.atomic
def revoke_token(token_id: UUID | str) -> ApiToken:
    """End a token's use for good; one that has been revoked stays as it is. Raises DoesNotExist."""
    token = ApiToken.locked(token_id)
    if token.revoked_at is None:
        token.revoked_at = clock.now()
        token.save(update_fields=["revoked_at"])
        audit.record("token.revoke", token, before=_told(token), after={"revoked_at": token.revoked_at})
    return token


def token_hash(secret: str) -> str:
    """SHA-256 of a token. No salt and no stretching: the secret is 32 random bytes, so there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find_token(secret: str) -> ApiToken | None:
    """The living token with this secret, if its person may still sign in; its `membership` allows what the scopes
    allow. Marks its use.
    """
    # everyone: the token is what tells us the organization.
    token = (
        ApiToken.everyone.select_related("membership__user", "membership__organization", "organization")
        .filter(sha256=token_hash(secret), revoked_at=None, membership__user__is_active=True)
        .first()
    )
    now = clock.now()
    if token is None or (token.expires_at and token.expires_at <= now):
        return None
    if token.last_used_at is None or token.last_used_at <= now - SEEN_EVERY:
        # everyone: the same token as above; its organization is not active yet.
        ApiToken.everyone.filter(pk=token.pk).update(last_used_at=now)
    token.membership.scopes = None if token.scopes is None else frozenset(token.scopes)
    return token


def _checked(scopes: Collection[str], membership: Membership) -> list[str]:
    """The scopes without repetitions. Raises ValidationError."""
    if unknown := set(scopes) - EVERY_PERMISSION:
        raise ValidationError({"scopes": f"There is no permission “{min(unknown)}”."})
    if lacking := set(scopes) - PERMISSIONS[membership.role]:
        role = membership.get_role_display()
        raise ValidationError({"scopes": f"Your role ({role}) does not allow: {', '.join(sorted(lacking))}."})
    if not scopes:
        raise ValidationError({"scopes": "Choose at least one: a token without any opens nothing."})
    return sorted(set(scopes))


def _demand_within(scopes: Collection[str] | None, expires_at: datetime | None, by: ApiToken) -> None:
    """Raises PermissionDenied where a token could do more, or could do it longer, than the one that asks for it."""
    if by.scopes is not None and (scopes is None or set(scopes) - set(by.scopes)):
        more = "all of its role's" if scopes is None else ", ".join(sorted(set(scopes) - set(by.scopes)))
        raise PermissionDenied(f"A token gives no scopes that it lacks itself: {more}.")
    if by.expires_at is not None and (expires_at is None or expires_at > by.expires_at):
        raise PermissionDenied(f"A token makes none that outlives it: it ends at {by.expires_at:%Y-%m-%d %H:%M} UTC.")


def _told(token: ApiToken) -> dict[str, Any]:
    return {
        "name": token.name,
        "prefix": token.prefix,
        "person": token.membership.user.email,
        "scopes": token.scopes,
        "expires_at": token.expires_at,
    }
