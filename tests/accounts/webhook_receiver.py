"""A receiver of webhooks as its owner would write it: it knows the specification and nothing of Kilroy."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.faces.loopback import Loopback, Reply, Request, serve


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is of this secret (github.com/standard-webhooks, “Verifying signatures”)."""
    key = base64.b64decode(secret.split("whsec_")[1])
    content = headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    mine = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    given = (each.split(",", 1) for each in headers["webhook-signature"].split(" "))
    return any(version == "v1" and hmac.compare_digest(mine, theirs) for version, theirs in given)


@dataclass
class Receiver:
    """Answers with `status` and keeps what arrived."""

    server: Loopback
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.server.url}/hook"

    @property
    def got(self) -> list[Request]:
        return self.server.requests

    @property
    def messages(self) -> list[Any]:
        return [json.loads(request.body) for request in self.got]

    def verifies(self, secret: str) -> list[bool]:
        return [verified(secret, request.headers, request.body) for request in self.got]


@contextmanager
def receiver(allow: Callable[[int], None]) -> Iterator[Receiver]:
    """A receiver on loopback, at a port that `allow` opens as an operator does."""
    with serve() as server:
        found = Receiver(server)
        server.answer = lambda request: Reply(found.status, headers=found.headers)
        allow(server.port)
        yield found
