"""As much of an instance as one account sees, answering as docs.joinmastodon.org says an instance does."""

from __future__ import annotations

import html
import itertools
from datetime import UTC, datetime
from typing import Any

from tests.faces.loopback import Reply, Request

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
TOKEN = "right"


class Instance:
    """As much of an instance as one account sees."""

    def __init__(self) -> None:
        self.statuses: list[dict[str, Any]] = []
        self.by_key: dict[str, dict[str, Any]] = {}
        self.mentions: list[dict[str, Any]] = []
        self.media: dict[str, str] = {}
        self.refuse: dict[tuple[str, str], Reply] = {}
        self.contexts: dict[str, list[dict[str, Any]]] = {}
        self.tags: dict[str, list[dict[str, Any]]] = {}
        self.scopes = ["read", "write:statuses", "write:media"]
        self.me: dict[str, Any] = {"id": "1", "acct": "kilroy", "bot": True, "followers_count": 250}
        self.ids = itertools.count(100)

    def answer(self, request: Request) -> Reply:
        if refusal := self.refuse.get((request.method, request.path)):
            return refusal
        if request.path == "/api/v1/apps":
            return Reply(data={"id": "9", "client_id": "app", "client_secret": "canary-app-secret"})
        if request.path == "/oauth/token":
            return self.token(request)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply(401, {"error": "The access token is invalid"})
        match request.method, request.path.split("/")[3:]:
            case "GET", ["instance"]:
                limits = {"max_characters": 60, "characters_reserved_per_url": 20, "max_media_attachments": 2}
                return Reply(data={"configuration": {"statuses": limits}})
            case "GET", ["accounts", "verify_credentials"]:
                return Reply(data=self.me)
            case "GET", ["apps", "verify_credentials"]:
                return Reply(data={"name": "Kilroy", "scopes": self.scopes})
            case "GET", ["accounts", "lookup"] if request.query["acct"] == ["bob@b.example"]:
                return Reply(data={"id": "2", "acct": "bob@b.example"})
            case "GET", ["timelines", "tag", tag]:
                return Reply(data=self.page(self.tags.get(tag, []), request))
            case "GET", ["statuses", remote_id, "context"]:
                return Reply(data={"ancestors": self.contexts.get(remote_id, []), "descendants": []})
            case "POST", ["statuses"]:
                return Reply(data=self.publish(request))
            case "POST", ["media"]:
                self.media["m1"] = request.body.decode("latin-1")
                return Reply(202, {"id": "m1", "url": None})
            case "GET", ["media", "m1"]:
                return Reply(data={"id": "m1", "url": "https://files.example/m1"})
            case "GET", ["accounts", account_id, "statuses"]:
                whose = [status for status in self.statuses if status["account"]["id"] == account_id]
                return Reply(data=self.page(whose, request))
            case "GET", ["notifications"]:
                return Reply(data=self.page(self.mentions, request))
            case "GET", ["statuses"]:
                return Reply(data=[s for s in self.statuses if s["id"] in request.query["id[]"]])
            case "GET", ["statuses", remote_id]:
                found = [s for s in self.statuses if s["id"] == remote_id]
                return Reply(data=found[0]) if found else Reply(404, {"error": "Record not found"})
            case "DELETE", ["statuses", remote_id]:
                before = len(self.statuses)
                self.statuses = [s for s in self.statuses if s["id"] != remote_id]
                return Reply() if len(self.statuses) < before else Reply(404, {"error": "Record not found"})
        return Reply(404, {"error": "Not found"})

    def publish(self, request: Request) -> dict[str, Any]:
        key = request.headers["idempotency-key"]
        if key not in self.by_key:
            self.by_key[key] = self.add(f"<p>{html.escape(request.json['status'])}</p>", NOW)
        return self.by_key[key]

    def token(self, request: Request) -> Reply:
        """RFC 6749, as doorkeeper answers."""
        given = {name: values[0] for name, values in request.form.items()}
        if (given["client_id"], given["client_secret"], given["code"]) != ("app", "canary-app-secret", "good-code"):
            return Reply(400, {"error": "invalid_grant", "error_description": "The authorization grant is invalid."})
        return Reply(data={"access_token": TOKEN, "token_type": "Bearer", "scope": " ".join(self.scopes)})

    def add(self, content: str, at: datetime = NOW, likes: int = 0, **fields: Any) -> dict[str, Any]:
        status = {
            "id": str(next(self.ids)),
            "content": content,
            "created_at": at.isoformat().replace("+00:00", "Z"),
            "url": "https://example.social/@kilroy/1",
            "account": {"id": "1", "acct": "kilroy"},
            "favourites_count": likes,
            "reblogs_count": 1,
            "replies_count": None,
            **fields,
        }
        self.statuses.insert(0, status)
        return status

    def page(self, entries: list[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
        before = int(request.query.get("max_id", ["999999"])[0])
        return [entry for entry in entries if int(entry["id"]) < before][:2]
