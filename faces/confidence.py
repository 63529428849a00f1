"""What a platform was told in confidence, taken out of what it says: a server, or a proxy before it, may send back what
it was asked with, and its words for an error are stored, shown and logged.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "…"
SHORTEST = 6
"""Characters below which a value is no secret, and would be found in any text."""
FIELDS = frozenset({"access_token", "client_secret", "code", "code_verifier", "password", "refresh_token", "token"})
"""Names under which requests carry secrets in their bodies."""


def told(headers: Mapping[str, Any], sent: Mapping[str, Any]) -> frozenset[str]:
    """The secrets of a request, as they are and as they may be written. `sent`: what `requests` was given besides:
    `json`, `data`, `params`, `auth`.
    """
    found = {secret for secret in _secrets(headers, sent) if len(secret) >= SHORTEST}
    return frozenset(form for secret in found for form in _forms(secret))


def without(data: Any, secrets: Collection[str]) -> Any:
    """The same JSON with the secrets hidden in all of its texts."""
    if isinstance(data, str):
        for secret in sorted(secrets, key=len, reverse=True):
            data = data.replace(secret, HIDDEN)
        return data
    if isinstance(data, Mapping):
        return {without(name, secrets): without(value, secrets) for name, value in data.items()}
    return [without(value, secrets) for value in data] if isinstance(data, list) else data


def _secrets(headers: Mapping[str, Any], sent: Mapping[str, Any]) -> Iterator[str]:
    authorization = next((str(value) for name, value in headers.items() if name.lower() == "authorization"), "")
    yield authorization.partition(" ")[2] or authorization
    if isinstance(auth := sent.get("auth"), tuple):
        yield str(auth[1])
        yield base64.b64encode(":".join(map(str, auth)).encode()).decode()
    for name in ("json", "data", "params"):
        body = sent.get(name)
        pairs = body.items() if isinstance(body, Mapping) else body if isinstance(body, list) else ()
        yield from (str(value) for field, value in pairs if field in FIELDS)


def _forms(secret: str) -> set[str]:
    """A secret as texts, addresses and JSON hold it."""
    escaped = json.dumps(secret)[1:-1]
    coded = base64.b64encode(secret.encode()).decode()
    return {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        escaped,
        escaped.replace("/", "\\/"),
        coded,
    }
