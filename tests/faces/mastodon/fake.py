"""A stateful instance with several accounts, as docs.joinmastodon.org describes one: it remembers keys for an hour, and
several threads may ask at once.
"""

from __future__ import annotations

import html
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.faces.loopback import Reply, Request

SCOPES = ["read", "write:statuses", "write:media"]


@dataclass
class FakeMastodon:
    """`statuses`: in order of publication. `key_seconds`: how long a key is remembered. `now`: its clock, Unix time."""

    now: Callable[[], float] = time.time
    key_seconds: float = 3600.0
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    media: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ids = itertools.count(100)
        self._keys: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def add_account(self, name: str) -> str:
        """A new account; returns the token that acts for it."""
        token = f"token-of-{name}"
        self.accounts[token] = {"id": str(len(self.accounts) + 1), "acct": name, "bot": True, "followers_count": 250}
        return token

    def add_status(self, account: dict[str, Any], text: str, reply_to: str | None = None) -> dict[str, Any]:
        remote_id = str(next(self._ids))
        paragraphs = html.escape(text).replace("\n", "<br />")
        status = {
            "id": remote_id,
            "content": f"<p>{paragraphs}</p>",
            "sent": text,
            "created_at": datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds"),
            "url": f"https://example.social/@{account['acct']}/{remote_id}",
            "account": {name: account[name] for name in ("id", "acct")},
            "in_reply_to_id": reply_to,
            "favourites_count": 0,
            "reblogs_count": 0,
            "replies_count": 0,
        }
        self.statuses.append(status)
        return status

    def knows(self, request: Request) -> bool:
        """Whether a request repeats one whose key is remembered."""
        at, _ = self._keys.get(self._key(request), (0.0, {}))
        return self.now() - at < self.key_seconds

    def answer(self, request: Request) -> Reply:
        with self._lock:
            if request.path == "/api/v2/instance":
                limits = {"max_characters": 500, "characters_reserved_per_url": 23, "max_media_attachments": 4}
                return Reply(data={"configuration": {"statuses": limits}})
            me = self.accounts.get(_token(request))
            if me is None:
                return Reply(401, {"error": "The access token is invalid"})
            return self._answer(me, request)

    def _answer(self, me: dict[str, Any], request: Request) -> Reply:
        match request.method, request.path.split("/")[3:]:
            case "GET", ["accounts", "verify_credentials"]:
                return Reply(data=me)
            case "GET", ["apps", "verify_credentials"]:
                return Reply(data={"name": "Kilroy", "scopes": SCOPES})
            case "POST", ["statuses"]:
                return self._publish(me, request)
            case "POST", ["media"]:
                media_id = f"m{len(self.media)}"
                self.media[media_id] = request.body
                return Reply(data={"id": media_id, "url": f"https://example.social/{media_id}"})
            case "GET", ["accounts", account_id, "statuses"]:
                return Reply(data=self._page(account_id, request))
            case "GET", ["statuses", remote_id]:
                found = [status for status in self.statuses if status["id"] == remote_id]
                return Reply(data=found[0]) if found else Reply(404, {"error": "Record not found"})
            case "DELETE", ["statuses", remote_id]:
                found = [status for status in self.statuses if status["id"] == remote_id and _is_of(status, me)]
                self.statuses = [status for status in self.statuses if status not in found]
                return Reply(data=found[0]) if found else Reply(404, {"error": "Record not found"})
        return Reply(404, {"error": "Not found"})

    def _publish(self, me: dict[str, Any], request: Request) -> Reply:
        if self.knows(request):
            return Reply(data=self._keys[self._key(request)][1])
        body = request.json
        if len(body["status"]) > 500 or any(one not in self.media for one in body.get("media_ids", [])):
            return Reply(422, {"error": "Validation failed"})
        reply_to = body.get("in_reply_to_id")
        if reply_to and all(status["id"] != reply_to for status in self.statuses):
            return Reply(404, {"error": "The post you are trying to reply to does not appear to exist."})
        status = self.add_status(me, body["status"], reply_to)
        self._keys[self._key(request)] = (self.now(), status)
        return Reply(data=status)

    def _page(self, account_id: str, request: Request) -> list[dict[str, Any]]:
        before = int(request.query.get("max_id", ["999999999"])[0])
        own = [s for s in self.statuses if s["account"]["id"] == account_id and int(s["id"]) < before]
        return own[::-1][: min(40, int(request.query.get("limit", ["20"])[0]))]

    def _key(self, request: Request) -> tuple[str, str]:
        return _token(request), request.headers.get("idempotency-key", "")


def _is_of(status: dict[str, Any], account: dict[str, Any]) -> bool:
    return bool(status["account"]["id"] == account["id"])


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")
