"""OAuth 2.0 in two halves: sending a person to the platform and taking the code they bring back, and keeping tokens
fresh. What differs between platforms is a `Flow` in the face's folder, named by its entry in the registry.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from accounts import clock, vault
from faces.models import Connection

EARLY = timedelta(minutes=2)
"""A token is renewed this long before it expires."""


@dataclass(frozen=True)
class Departure:
    """Where to send the person, and what must be known when they come back (sealed meanwhile)."""

    url: str
    keep: Mapping[str, Any] = field(default_factory=dict)


class Flow(ABC):
    """One platform's way to give a token. `settings` and `given` are what the person entered in the face's form: the
    public fields and the secret ones. Both verbs raise FaceError.
    """

    @abstractmethod
    def begin(self, settings: Mapping[str, Any], given: Mapping[str, Any], callback: str, state: str) -> Departure:
        """The platform's page on which the person allows the connection; it sends them to `callback` with `state`."""

    @abstractmethod
    def finish(
        self, settings: Mapping[str, Any], given: Mapping[str, Any], keep: Mapping[str, Any], code: str, callback: str
    ) -> dict[str, Any]:
        """The credentials to seal, for the `code` that came back: they include `given`."""


def pkce() -> tuple[str, str]:
    """A verifier and its S256 challenge (RFC 7636)."""
    verifier = secrets.token_urlsafe(64)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def expiry(seconds: float) -> str:
    """`expires_at` for credentials, of a token that lives that long from now."""
    return (clock.now() + timedelta(seconds=seconds)).isoformat()


def expires_soon(known: Mapping[str, Any]) -> bool:
    """Whether the `expires_at` of credentials is near or past; never so where there is none."""
    expires = known.get("expires_at")
    return expires is not None and datetime.fromisoformat(expires) - clock.now() < EARLY


def fresh_secrets(
    connection: Connection,
    renew: Callable[[dict[str, Any]], dict[str, Any]],
    is_stale: Callable[[Mapping[str, Any]], bool] = expires_soon,
) -> dict[str, Any]:
    """The connection's credentials with a token that still lives: `renew` is called, by one process at a time, with the
    stored ones when they are stale, and returns new ones, which are sealed before they are used (a refresh token may be
    good for one use only).

    Raises what `renew` raises, and FaceError for credentials that do not open.
    """
    known = connection.secrets
    if not is_stale(known):
        return known
    with transaction.atomic():
        locked = Connection.locked(connection.pk)
        known = locked.secrets
        if is_stale(known):  # else another process was first
            known = renew(known)
            locked.credentials = vault.seal(locked, "credentials", known)
            locked.save(update_fields=["credentials"])
    connection.credentials = locked.credentials
    return known
