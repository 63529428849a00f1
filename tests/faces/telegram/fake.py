"""An imitation of Telegram's Bot API, written from its published documentation and the refusals of its published
server: one bot, one channel with a discussion group. Nothing here is shared with the face.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faces.loopback import Reply, Request
from tests.faces.multipart import Part, parts_of

TOKEN = "123456789:AAcanaryCANARYcanaryCANARYcanaryCANA"
BOT, CHANNEL, GROUP = 123456789, -1001234567890, -1009876543210
DAY = 86_400
ADMIN = {"status": "administrator", "can_post_messages": True, "can_delete_messages": True}
METHODS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "getMe": {},
    "getChat": {"chat_id!": (int, str)},
    "getChatMember": {"chat_id!": (int, str), "user_id!": int},
    "getChatMemberCount": {"chat_id!": (int, str)},
    "getUpdates": {"offset": int, "limit": int, "timeout": int, "allowed_updates": list},
    "sendMessage": {"chat_id!": (int, str), "text!": str, "link_preview_options": dict, "reply_parameters": dict},
    "sendPhoto": {"chat_id!": (int, str), "photo!": Part, "caption": str, "reply_parameters": dict},
    "sendAnimation": {"chat_id!": (int, str), "animation!": Part, "caption": str, "reply_parameters": dict},
    "sendMediaGroup": {"chat_id!": (int, str), "media!": list, "reply_parameters": dict},
    "deleteMessage": {"chat_id!": (int, str), "message_id!": int},
    "deleteMessages": {"chat_id!": (int, str), "message_ids!": list},
}
"""Parameters and types of the methods that Kilroy uses, with ! where required."""


class Refused(Exception):
    def __init__(self, status: int, description: str) -> None:
        super().__init__(description)
        self.status, self.description = status, description


@dataclass
class Fault:
    """What happens to the next call of a method: this reply, after Telegram has acted on the call or instead."""

    reply: Reply
    acted: bool = False


@dataclass
class FakeTelegram:
    """`answer` takes a request as tests.faces.loopback passes it. `now` is Telegram's clock, seconds since 1970."""

    now: Callable[[], float] = time.time
    token: str = TOKEN
    member: dict[str, Any] = field(default_factory=lambda: dict(ADMIN))
    kicked: bool = False
    webhook: bool = False
    username: str = "kilroy_news"
    subscribers: int = 250
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    messages: dict[int, dict[int, dict[str, Any]]] = field(default_factory=lambda: {CHANNEL: {}, GROUP: {}})
    uploads: list[bytes] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    allowed: set[str] = field(default_factory=lambda: {"message", "edited_message", "channel_post", "my_chat_member"})
    next_update: int = 1000
    _number: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(self, method: str, reply: Reply, *, acted: bool = False) -> None:
        """Let the next call of this method end this way."""
        self.faults.setdefault(method, []).append(Fault(reply, acted))

    def tell(self, kind: str, content: dict[str, Any]) -> None:
        """Queue an update, if the bot asked for its kind."""
        with self._lock:
            if kind in self.allowed:
                self.updates.append({"update_id": self.next_update, kind: content, "_at": self.now()})
                self.next_update += 1

    def react(self, message: int, total: int, chat: int = CHANNEL) -> None:
        """People's reactions change to this total."""
        reactions = [{"type": {"type": "emoji", "emoji": "❤"}, "total_count": total}] if total else []
        where = {"chat": self.chat(chat), "message_id": message, "date": int(self.now())}
        self.tell("message_reaction_count", {**where, "reactions": reactions})

    def write(self, chat: int, text: str, *, user: int = 7, to: int | None = None, **more: Any) -> dict[str, Any]:
        """A message by somebody; the bot is told of it."""
        message = self.add(
            chat, {"from": {"id": user, "is_bot": False, "username": f"user{user}"}, "text": text, **more}
        )
        if to is not None:
            message["reply_to_message"] = self.messages[chat][to]
        self.tell("channel_post" if chat == CHANNEL else "message", message)
        return message

    def forward(self, post: int) -> dict[str, Any]:
        """The discussion group's automatic copy of a channel post; the bot is told of it."""
        original = self.messages[CHANNEL][post]
        origin = {"type": "channel", "chat": self.chat(CHANNEL), "message_id": post, "date": original["date"]}
        copy = {"sender_chat": self.chat(CHANNEL), "text": original.get("text", ""), "forward_origin": origin}
        message = self.add(GROUP, {**copy, "is_automatic_forward": True})
        self.tell("message", message)
        return message

    def add(self, chat: int, fields: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._number += 1
            message = {"message_id": self._number, "date": int(self.now()), "chat": self.chat(chat), **fields}
            self.messages[chat][self._number] = message
            return message

    def chat(self, chat: int) -> dict[str, Any]:
        if chat == GROUP:
            return {"id": GROUP, "type": "supergroup", "title": "Talk"}
        named = {"username": self.username} if self.username else {}
        return {"id": CHANNEL, "type": "channel", "title": "News", **named}

    def answer(self, request: Request) -> Reply:
        token, method = re.fullmatch(r"/bot([^/]*)/(\w+)", request.path).groups()  # type: ignore[union-attr]
        with self._lock:
            self.requests[method] += 1
            fault = self.faults.get(method, []).pop(0) if self.faults.get(method) else None
            if fault and not fault.acted:
                return fault.reply
            try:
                if not re.fullmatch(r"\d+:[\w-]+", token):
                    raise Refused(404, "Not Found")
                if token != self.token:
                    raise Refused(401, "Unauthorized")
                result = getattr(self, f"_{method}")(**_parameters(method, request))
            except Refused as error:
                reply = refusal(error.status, error.description)
            else:
                reply = Reply(data={"ok": True, "result": result})
            return fault.reply if fault else reply

    def _getMe(self) -> Any:  # noqa: N802 - Telegram's name, as below
        return {"id": BOT, "is_bot": True, "first_name": "Kilroy", "username": "kilroy_bot"}

    def _getChat(self, chat_id: int | str) -> Any:  # noqa: N802
        return {**self.chat(self._find(chat_id)), "linked_chat_id": GROUP}

    def _getChatMember(self, chat_id: int | str, user_id: int) -> Any:  # noqa: N802
        self._find(chat_id)
        return {"user": {"id": user_id}, **self.member}

    def _getChatMemberCount(self, chat_id: int | str) -> Any:  # noqa: N802
        self._find(chat_id)
        return self.subscribers

    def _getUpdates(  # noqa: N802
        self, offset: int = 0, limit: int = 100, timeout: int = 0, allowed_updates: list[str] | None = None
    ) -> Any:
        if self.webhook:
            raise Refused(
                409,
                "Conflict: can't use getUpdates method while webhook is active; "
                "use deleteWebhook to delete the webhook first",
            )
        if allowed_updates:
            self.allowed = set(allowed_updates)
        known = {update["update_id"] for update in self.updates} | {self.next_update}
        if offset and min(known) <= offset <= self.next_update:
            self.updates = [update for update in self.updates if update["update_id"] >= offset]
        self.updates = [update for update in self.updates if update["_at"] > self.now() - DAY]
        return [{name: v for name, v in update.items() if name != "_at"} for update in self.updates[:limit]]

    def _sendMessage(self, chat_id: int | str, text: str, reply_parameters: Any = None, **_: Any) -> Any:  # noqa: N802
        if _units(text) > 4096:
            raise Refused(400, "Bad Request: message is too long")
        if not text.strip():
            raise Refused(400, "Bad Request: message text is empty")
        return self._post(chat_id, {"text": text.strip()}, reply_parameters)

    def _sendPhoto(self, chat_id: Any, photo: Part, caption: str = "", reply_parameters: Any = None) -> Any:  # noqa: N802
        return self._post(chat_id, self._image("photo", photo, caption), reply_parameters)

    def _sendAnimation(  # noqa: N802
        self, chat_id: Any, animation: Part, caption: str = "", reply_parameters: Any = None
    ) -> Any:
        return self._post(chat_id, self._image("animation", animation, caption), reply_parameters)

    def _sendMediaGroup(self, chat_id: Any, media: list[Any], reply_parameters: Any = None, **files: Part) -> Any:  # noqa: N802
        if not 2 <= len(media) <= 10:
            raise Refused(400, "Bad Request: group send failed")
        sent = []
        for entry in media:
            part = files[entry["media"].removeprefix("attach://")]
            sent.append(self._post(chat_id, self._image("photo", part, entry.get("caption", "")), reply_parameters))
        return sent

    def _image(self, kind: str, part: Part, caption: str) -> dict[str, Any]:
        if _units(caption) > 1024:
            raise Refused(400, "Bad Request: message caption is too long")
        self.uploads.append(part.content)
        return {kind: {}, **({"caption": caption} if caption else {})}

    def _deleteMessage(self, chat_id: int | str, message_id: int) -> Any:  # noqa: N802
        chat = self._find(chat_id)
        message = self.messages[chat].get(message_id)
        if message is None:
            raise Refused(400, "Bad Request: message to delete not found")
        if self.now() - message["date"] > 2 * DAY and not self.member.get("can_delete_messages"):
            raise Refused(400, "Bad Request: message can't be deleted")
        del self.messages[chat][message_id]
        return True

    def _deleteMessages(self, chat_id: int | str, message_ids: list[int]) -> Any:  # noqa: N802
        for message_id in message_ids:
            self.messages[self._find(chat_id)].pop(message_id, None)
        return True

    def _post(self, chat_id: int | str, content: dict[str, Any], reply_parameters: Any) -> Any:
        chat = self._find(chat_id)
        if self.member["status"] != "administrator":
            raise Refused(400, "Bad Request: need administrator rights in the channel chat")
        if not self.member.get("can_post_messages"):
            raise Refused(400, "Bad Request: not enough rights to send text messages to the chat")
        if reply_parameters and reply_parameters["message_id"] not in self.messages[chat]:
            raise Refused(400, "Bad Request: message to be replied not found")
        above = {"reply_to_message": self.messages[chat][reply_parameters["message_id"]]} if reply_parameters else {}
        own = {"sender_chat": self.chat(CHANNEL)} if chat == CHANNEL else {"from": self._getMe()}
        return self.add(chat, {**own, **content, **above})  # a bot is not told of its own messages

    def _find(self, chat_id: int | str) -> int:
        names: dict[str, int] = {f"@{self.username}": CHANNEL, str(CHANNEL): CHANNEL, str(GROUP): GROUP}
        if str(chat_id) not in names:
            raise Refused(400, "Bad Request: chat not found")
        if self.kicked:
            raise Refused(403, "Forbidden: bot was kicked from the channel chat")
        return names[str(chat_id)]


def too_many(seconds: int) -> Reply:
    """Telegram's answer to too many requests."""
    return refusal(429, f"Too Many Requests: retry after {seconds}", parameters={"retry_after": seconds})


def refusal(status: int, description: str, **more: Any) -> Reply:
    return Reply(status, {"ok": False, "error_code": status, "description": description, **more})


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _parameters(method: str, request: Request) -> dict[str, Any]:
    """The parameters of a call, checked against the documentation. Raises Refused."""
    if method not in METHODS:
        raise Refused(404, "Not Found: method not found")
    types = {name.rstrip("!"): kind for name, kind in METHODS[method].items()}
    found: dict[str, Any] = {}
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        for name, part in parts_of(request).items():
            simple = types.get(name) in (str, (int, str))
            found[name] = part if part.filename else part.text if simple else json.loads(part.text)
    elif request.body:
        found = json.loads(request.body)
    for name, value in found.items():
        if name not in types and not (method == "sendMediaGroup" and isinstance(value, Part)):
            raise Refused(400, f"Bad Request: unknown parameter {name}")
        if name in types and not isinstance(value, types[name]):
            raise Refused(400, f"Bad Request: {name} has the wrong type")
        if isinstance(value, str) and any(0xD800 <= ord(character) < 0xE000 for character in value):
            raise Refused(400, "Bad Request: strings must be encoded in UTF-8")
    if lacking := [name for name in METHODS[method] if name.endswith("!") and name[:-1] not in found]:
        raise Refused(400, f"Bad Request: {lacking[0]} is empty")
    return found
