"""Connections that their owner allows on the platform's own page: sent there, back with a code, or never back.

The row is the attempt. Its `state` (RFC 6749, section 10.12) is its id and 32 random bytes, of which only a hash is
kept, sealed together with what the person entered and what the face's flow must know when they come back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings as site
from django.db import transaction
from django.urls import reverse
from django.utils.module_loading import import_string

from accounts import audit, clock, vault
from accounts.tenancy import active
from faces.models import Authorization, Connection
from faces.oauth import Flow
from faces.registry import FACES
from faces.services import (
    check_name,
    checked_settings,
    merged_settings,
    renew_connection,
    split_secrets,
    store_connection,
)

LIFETIME = timedelta(hours=1)
KEPT = timedelta(hours=1)
"""How long an attempt that ran out stays, so that whoever comes late is told why."""
_ID_LENGTH = 32


class NotAuthorized(Exception):
    """An attempt that came to nothing: a `heading` and words for the person who came back."""

    def __init__(self, heading: str, message: str) -> None:
        super().__init__(message)
        self.heading = heading


@dataclass(frozen=True)
class Begun:
    """An attempt, and the platform's page that the person must visit."""

    authorization: Authorization
    url: str


def callback_address() -> str:
    """Where every platform sends people back to: what is registered there as the redirect URL."""
    return f"{site.PUBLIC_URL}{reverse('faces:connect-callback')}"


def token_fields(kind: str) -> tuple[str, ...]:
    """The form's fields that hold what the flow would bring: whoever fills one in connects by hand."""
    return tuple(getattr(FACES[kind].load_form(), "token_fields", ()))


def needs_flow(kind: str, values: Mapping[str, Any]) -> bool:
    """Whether the account's owner must visit the platform, since no token was entered by hand."""
    return bool(FACES[kind].flow) and not any(values.get(name) for name in token_fields(kind))


def begin(kind: str, name: str, values: dict[str, Any], user_id: UUID, connection: Connection | None = None) -> Begun:
    """Begin an attempt of this person: a new connection, or new credentials for an old one (`values` then go over what
    it has). Raises ValidationError for bad values, FaceError when the platform cannot be asked.
    """
    if connection is None:
        check_name(name)
        public, given = split_secrets(kind, checked_settings(kind, values))
    else:
        public, given = merged_settings(connection, dict.fromkeys(token_fields(kind), "") | values)
    row = Authorization(pk=uuid.uuid4(), kind=kind, name=name, settings=public, connection=connection)
    state = row.pk.hex + secrets.token_urlsafe(32)
    departure = _flow(kind).begin(public, given, callback_address(), state)
    return Begun(_keep(row, user_id, _hash(state), given, departure.keep), departure.url)


@transaction.atomic
def _keep(
    row: Authorization, user_id: UUID, state: str, given: Mapping[str, Any], keep: Mapping[str, Any]
) -> Authorization:
    row.organization_id, row.user_id = active(), user_id
    row.expires_at = clock.now() + LIFETIME
    row.credentials = vault.seal(row, "credentials", {"state": state, "given": dict(given), "keep": dict(keep)})
    row.save()
    audit.record("connection.authorize", row, after={"kind": row.kind, "name": row.name, "settings": row.settings})
    return row


def arrived(state: str, user_id: UUID) -> Authorization:
    """The living attempt that a person came back with. Raises NotAuthorized."""
    row = _find(state)
    if row is None:
        raise NotAuthorized(
            "This connection was not begun here",
            "The address that you came back with belongs to no attempt of this installation, or to one that ran out "
            "long ago. Nothing was connected.",
        )
    if row.user_id != user_id:
        raise NotAuthorized(
            "Somebody else began this",
            "Only the person who set out to connect this account can finish it. Sign in as that person, or begin anew.",
        )
    if "given" not in _opened(row):
        raise NotAuthorized(
            "This was used already",
            f"You came back from {label(row)} once before with the same answer. Look at your connections: if "
            f"“{row.name}” is not among them, begin anew.",
        )
    if row.expires_at <= clock.now():
        raise NotAuthorized(
            "This took too long",
            f"You have an hour to allow a connection on {label(row)}. Nothing was connected: begin anew.",
        )
    return row


def finish(row: Authorization, code: str) -> Connection:
    """Exchange the code for credentials, and connect with them; an old connection keeps its history.

    Raises NotAuthorized when the attempt was used meanwhile, FaceError when the platform gives no credentials,
    ValidationError when the name was taken meanwhile.
    """
    known = _use(row)
    credentials = _flow(row.kind).finish(row.settings, known["given"], known["keep"], code, callback_address())
    if row.connection_id is None:
        return store_connection(row.kind, row.name, row.settings, credentials)
    return renew_connection(row.connection_id, row.settings, credentials)


def refused(row: Authorization, error: str) -> NotAuthorized:
    """Spend the attempt that a platform sent back with an error code, and the words for it."""
    _use(row)
    audit.record("connection.refused", row, after={"error": error[:100]})
    if error == "access_denied":
        return NotAuthorized(
            f"{label(row)} was not allowed",
            f"You, or {label(row)}, declined. Nothing was connected, and Kilroy got nothing.",
        )
    return NotAuthorized(
        f"{label(row)} sent an error back",
        f"It says “{error[:100]}”. Check what you entered, the redirect URL registered there among it, and begin anew.",
    )


def label(row: Authorization) -> str:
    """The platform's name."""
    return FACES[row.kind].label


def forget_old() -> int:
    """Delete the attempts that ran out some time ago, with the secrets in them."""
    # everyone: housekeeping over all organizations; nothing of a row is read.
    deleted, _ = Authorization.everyone.filter(expires_at__lt=clock.now() - KEPT).delete()
    return deleted


def _find(state: str) -> Authorization | None:
    try:
        pk = UUID(state[:_ID_LENGTH])
    except ValueError:
        return None
    # everyone: the state is what tells the organization; its membership is asked before anything is done there.
    row = Authorization.everyone.select_related("organization").filter(pk=pk).first()
    if row is None or not hmac.compare_digest(str(_opened(row).get("state")), _hash(state)):
        return None
    return row


def _opened(row: Authorization) -> dict[str, Any]:
    try:
        return vault.unseal(row, "credentials", row.credentials)
    except vault.VaultError:  # the key is gone: as good as an attempt that never was
        return {}


@transaction.atomic
def _use(row: Authorization) -> dict[str, Any]:
    """What is known of the attempt, taken out of the row: it can be taken once."""
    held = Authorization.locked(row.pk)
    known = _opened(held)
    if "given" not in known:
        raise NotAuthorized("This was used already", "Another window has just come back with the same answer.")
    held.credentials = vault.seal(held, "credentials", {"state": known["state"]})
    held.save(update_fields=["credentials"])
    return known


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()


def _flow(kind: str) -> Flow:
    flow: type[Flow] = import_string(FACES[kind].flow)
    return flow()
