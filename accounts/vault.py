"""Secrets at rest: credentials in AES-256-GCM envelopes, bound to the row that holds them.

An envelope is `v1.<key id>.<nonce>.<ciphertext>` (base64url). Its associated data name organization, table, column and
row, so that an envelope copied into another row does not open. The keyring comes from the settings: its first key
seals, every key opens, so that keys can be rotated while posts are published (`accounts/rotation.py`).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db.models import Model

VERSION = "v1"
NONCE_BYTES = 12
SEALED: list[tuple[str, str]] = []
"""The columns that hold envelopes, as (model's label, column): what a rotation of keys goes through."""


class VaultError(Exception):
    """A secret that cannot be opened; the message never holds any of it."""


def register(model: str, column: str) -> None:
    """Say that a column holds envelopes; an app does so in its `ready()`."""
    if (model, column) not in SEALED:
        SEALED.append((model, column))


def seal(row: Model, column: str, secret: dict[str, Any]) -> str:
    """The envelope of `secret` for this column of this row, under the keyring's first key."""
    return _sealed(json.dumps(secret, sort_keys=True).encode(), _bound_to(row, column))


def seal_text(purpose: str, text: str) -> str:
    """The envelope of a text that is sealed before it has a row; it opens for the same purpose only."""
    return _sealed(text.encode(), purpose.encode())


def _sealed(secret: bytes, bound_to: bytes) -> str:
    key_id, key = next(iter(settings.CREDENTIAL_KEYS.items()))
    nonce = os.urandom(NONCE_BYTES)
    return ".".join((VERSION, key_id, _text(nonce), _text(AESGCM(key).encrypt(nonce, secret, bound_to))))


def unseal(row: Model, column: str, envelope: str) -> dict[str, Any]:
    """What `seal` was given; {} for an empty column. Raises VaultError, and never returns the raw text."""
    if not envelope:
        return {}
    secret: dict[str, Any] = json.loads(_opened(envelope, _bound_to(row, column)))
    return secret


def unseal_text(purpose: str, envelope: str) -> str:
    """What `seal_text` was given. Raises VaultError, and never returns the raw text."""
    return _opened(envelope, purpose.encode()).decode()


def _opened(envelope: str, bound_to: bytes) -> bytes:
    parts = envelope.split(".")
    if len(parts) != 4 or parts[0] != VERSION:
        raise VaultError("This is no sealed secret: enter the credentials again.")
    key = settings.CREDENTIAL_KEYS.get(parts[1])
    if key is None:
        raise VaultError(
            f"The key “{parts[1]}” that sealed these credentials is not in KILROY_CREDENTIAL_KEYS: "
            "put it back there, or enter the credentials again."
        )
    try:
        return AESGCM(key).decrypt(_bytes(parts[2]), _bytes(parts[3]), bound_to)
    except (InvalidTag, ValueError, binascii.Error):
        raise VaultError("These credentials do not open here: enter them again.") from None


def is_current(envelope: str) -> bool:
    """Whether the keyring's first key sealed this envelope (an empty column needs no key)."""
    return not envelope or envelope.startswith(current_prefix())


def current_prefix() -> str:
    """How every envelope under the keyring's first key begins."""
    return f"{VERSION}.{next(iter(settings.CREDENTIAL_KEYS))}."


def _bound_to(row: Model, column: str) -> bytes:
    organization = getattr(row, "organization_id", "")
    return f"{organization}|{row._meta.db_table}|{column}|{row.pk}".encode()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
