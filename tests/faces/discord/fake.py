"""An imitation of Discord, written from its published documentation and OpenAPI document: one server with channels.

Requests are checked against Discord's own schema (`schemas.json`). Nothing here is shared with the face.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.faces.loopback import Reply, Request
from tests.faces.multipart import parts_of

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.Gabcde.right-token-of-a-bot"
ME, SERVER, CHANNEL, OTHER, THREAD = "900", "500", "1001", "1002", "1003"
EPOCH_MS = 1_420_070_400_000
NONCE_SECONDS = 180.0
EVERYTHING_NEEDED = (1 << 10) | (1 << 11) | (1 << 15) | (1 << 16) | (1 << 38)
SCHEMAS = json.loads((Path(__file__).parent / "schemas.json").read_text())


@dataclass
class Fault:
    """What happens to the next request of a kind: this reply, after Discord has acted on the request or instead."""

    reply: Reply
    acted: bool = False


@dataclass
class FakeDiscord:
    """`answer` takes a request as tests.faces.loopback passes it. `now` is Discord's clock, seconds since 1970."""

    now: Callable[[], float] = time.time
    token: str = TOKEN
    member: bool = True
    message_content_intent: bool = True
    everyone: int = EVERYTHING_NEEDED
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    messages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    nonces: dict[tuple[str, str], tuple[float, dict[str, Any]]] = field(default_factory=dict)
    uploads: list[bytes] = field(default_factory=list)
    channels: dict[str, dict[str, Any]] = field(default_factory=dict)
    roles: list[str] = field(default_factory=list)
    timed_out_until: str | None = None
    owner: str = "1"
    _number: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.channels = {
            CHANNEL: {"id": CHANNEL, "type": 0, "name": "bot-posts", "guild_id": SERVER, "permission_overwrites": []},
            OTHER: {"id": OTHER, "type": 0, "name": "talk", "guild_id": SERVER, "permission_overwrites": []},
            THREAD: {
                "id": THREAD,
                "type": 11,
                "name": "a thread",
                "guild_id": SERVER,
                "parent_id": OTHER,
                "thread_metadata": {"locked": False, "archived": False},
            },
        }
        self.messages = {channel: [] for channel in self.channels}

    def fail(self, what: str, reply: Reply, *, acted: bool = False) -> None:
        """Let the next request of this kind (such as "POST messages") end this way."""
        self.faults.setdefault(what, []).append(Fault(reply, acted))

    def write(self, channel: str, content: str, author: str = "7", at: float | None = None, **more: Any) -> Any:
        """A message by somebody, as the channel holds it."""
        with self._lock:
            self._number += 1
            moment = self.now() if at is None else at
            number = ((int(moment * 1000) - EPOCH_MS) << 22) + self._number
            message = {
                "id": str(number),
                "channel_id": channel,
                "author": {
                    "id": author,
                    "username": "kilroy" if author == ME else f"user{author}",
                    "bot": author == ME,
                },
                "content": content,
                "timestamp": datetime.fromtimestamp(moment, UTC).isoformat(),
                "type": 19 if "message_reference" in more else 0,
                "attachments": [],
                "mentions": [{"id": ME, "username": "kilroy"}] if f"<@{ME}>" in content else [],
                **more,
            }
            self.messages[channel].append(message)
            self.messages[channel].sort(key=lambda known: int(known["id"]))
            return message

    def answer(self, request: Request) -> Reply:
        path = request.path.split("/")[1:]
        what = f"{request.method} {path[2] if len(path) > 2 else path[0]}"
        with self._lock:
            self.requests[what] += 1
            fault = self.faults.get(what, []).pop(0) if self.faults.get(what) else None
            if fault and not fault.acted:
                return fault.reply
            reply = self._answer(request, path)
            return fault.reply if fault else reply

    def _answer(self, request: Request, path: list[str]) -> Reply:
        if request.headers.get("authorization") != f"Bot {self.token}":
            return Reply(401, {"message": "401: Unauthorized", "code": 0})
        match request.method, path:
            case "GET", ["users", "@me"]:
                return Reply(data={"id": ME, "username": "kilroy", "bot": True})
            case "GET", ["guilds", server, *rest]:
                return self._server(server, rest)
            case _, ["channels", channel, *rest]:
                if channel not in self.channels:
                    return _refuse(404, 10003, "Unknown Channel")
                if not self.member:
                    return _refuse(403, 50001, "Missing Access")
                return self._channel(request, channel, rest)
        return Reply(404, {"message": "404: Not Found", "code": 0})

    def _server(self, server: str, rest: list[str]) -> Reply:
        if server != SERVER or not self.member:
            return _refuse(404, 10004, "Unknown Guild")
        if rest == ["members", ME]:
            until = self.timed_out_until
            return Reply(data={"user": {"id": ME}, "roles": self.roles, "communication_disabled_until": until})
        roles = [
            {"id": SERVER, "permissions": str(self.everyone)},
            {"id": "600", "permissions": str(1 << 3)},
            {"id": "601", "permissions": str(EVERYTHING_NEEDED)},
        ]
        return Reply(data={"id": SERVER, "owner_id": self.owner, "roles": roles})

    def _channel(self, request: Request, channel: str, rest: list[str]) -> Reply:
        match request.method, rest:
            case "GET", []:
                return Reply(data=self.channels[channel])
            case "POST", ["messages"]:
                return self._create(request, channel)
            case "GET", ["messages"]:
                return self._list(request, channel)
            case "GET", ["messages", wanted]:
                found = [message for message in self.messages[channel] if message["id"] == wanted]
                return Reply(data=self._shown(found[0])) if found else _refuse(404, 10008, "Unknown Message")
            case "DELETE", ["messages", wanted]:
                found = [message for message in self.messages[channel] if message["id"] == wanted]
                if not found:
                    return _refuse(404, 10008, "Unknown Message")
                if found[0]["author"]["id"] != ME:
                    return _refuse(403, 50013, "Missing Permissions")
                self.messages[channel].remove(found[0])
                return Reply(204, raw=b"")
        return Reply(405, {"message": "405: Method Not Allowed", "code": 0})

    def _create(self, request: Request, channel: str) -> Reply:
        body, files = request.body, {}
        if request.headers["content-type"].startswith("multipart/form-data"):
            files = parts_of(request)
            body = files.pop("payload_json").content
        try:
            wanted = json.loads(body)
        except ValueError:
            return _refuse(400, 50109, "The request body contains invalid JSON.")
        if refusal := self._refusal(channel, wanted, files):
            return refusal
        key = (channel, str(wanted.get("nonce", "")))
        if wanted.get("enforce_nonce") and key in self.nonces and self.now() - self.nonces[key][0] < NONCE_SECONDS:
            return Reply(data=self.nonces[key][1])
        more: dict[str, Any] = {}
        if reference := wanted.get("message_reference"):
            answered = [m for m in self.messages[channel] if m["id"] == reference["message_id"]]
            more = {"message_reference": reference, "referenced_message": answered[0]}
        message = self.write(channel, (wanted.get("content") or "").strip(), ME, **more)
        message["attachments"] = [
            {"id": str(number), "filename": part.filename} for number, part in enumerate(files.values())
        ]
        self.uploads += [part.content for part in files.values()]
        shown = {**message, "nonce": wanted.get("nonce")}
        self.nonces[key] = (self.now(), shown)
        return Reply(data=shown)

    def _refusal(self, channel: str, wanted: Any, files: dict[str, Any]) -> Reply | None:
        if error := schema_error(wanted):
            return _invalid(*error)
        content = wanted.get("content") or ""
        if len(content) > 2000:  # the schema's 4,000 are for accounts that pay
            return _invalid("content", "BASE_TYPE_MAX_LENGTH", "Must be 2000 or fewer in length.")
        if not content.strip() and not files:
            return _refuse(400, 50006, "Cannot send an empty message")
        if any(0xD800 <= ord(character) < 0xE000 for character in content):
            return _invalid("content", "STRING_TYPE_INVALID", "Not a well formed string.")
        if not self.everyone & (1 << 11) and not self.roles:
            return _refuse(403, 50013, "Missing Permissions")
        if {f"files[{entry['id']}]" for entry in wanted.get("attachments", [])} != set(files):
            return _invalid("attachments", "ATTACHMENT_NOT_FOUND", "Attachment data not found.")
        reference = wanted.get("message_reference")
        if reference and reference["message_id"] not in {message["id"] for message in self.messages[channel]}:
            return _invalid("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
        if (self.channels[channel].get("thread_metadata") or {}).get("locked"):
            return _refuse(400, 50083, "Thread is archived")
        return None

    def _list(self, request: Request, channel: str) -> Reply:
        asked = {name: values[0] for name, values in request.query.items()}
        limit = int(asked.pop("limit", "50"))
        if not 1 <= limit <= 100 or len(asked) > 1 or not set(asked) <= {"before", "after", "around"}:
            return _invalid("limit", "NUMBER_TYPE_MAX", "int value should be less than or equal to 100.")
        if not self.everyone & (1 << 16) and not self.roles:
            return Reply(data=[])  # documented: no Read Message History, no messages
        before = int(asked.get("before", 1 << 63))
        found = [message for message in self.messages[channel] if int(message["id"]) < before][-limit:]
        return Reply(data=[self._shown(message) for message in reversed(found)])

    def _shown(self, message: dict[str, Any]) -> dict[str, Any]:
        mine = message["author"]["id"] == ME or any(user["id"] == ME for user in message["mentions"])
        return message if mine or self.message_content_intent else {**message, "content": "", "attachments": []}


def schema_error(body: Any) -> tuple[str, str, str] | None:
    """(field, code, message) of the first thing that Discord's published schema forbids in a new message."""
    schema = {"$ref": "#/definitions/MessageCreateRequest", "definitions": SCHEMAS["definitions"]}
    validator = Draft202012Validator(schema)
    unknown = (
        set(body) - set(SCHEMAS["definitions"]["MessageCreateRequest"]["properties"]) if isinstance(body, dict) else ()
    )
    if unknown:
        return sorted(unknown)[0], "UNKNOWN", "Kilroy never sends this."
    error = next(iter(validator.iter_errors(body)), None)
    return None if error is None else (".".join(map(str, error.path)), "BASE_TYPE_BAD", error.message[:200])


def too_many(seconds: float) -> Reply:
    """Discord's answer to too many requests."""
    body = {"message": "You are being rate limited.", "retry_after": seconds, "global": False}
    return Reply(429, body, {"X-RateLimit-Scope": "user"})


def _refuse(status: int, code: int, message: str) -> Reply:
    return Reply(status, {"message": message, "code": code})


def _invalid(name: str, code: str, message: str) -> Reply:
    errors = {name: {"_errors": [{"code": code, "message": message}]}}
    return Reply(400, {"code": 50035, "errors": errors, "message": "Invalid Form Body"})
