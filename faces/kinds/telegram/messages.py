"""Telegram's messages: their ids here, and which of them concern a connection.

A post's id is `<chat id>:<message ids>:<Unix time>`: an album has several messages, and the time tells whether silence
about its reactions means that there are none (see `faces.kinds.telegram.received`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from faces.contract import FaceError

_ID = re.compile(r"(-?\d+):(\d+(?:,\d+)*):(\d+)")


@dataclass(frozen=True)
class PostId:
    """Where a post is: chat, messages, and its Unix time."""

    chat: int
    messages: tuple[int, ...]
    date: int

    def is_in(self, other: PostId) -> bool:
        """Whether both are in one place, whatever is known of their age."""
        return (self.chat, self.messages) == (other.chat, other.messages)

    def __str__(self) -> str:
        return f"{self.chat}:{','.join(map(str, self.messages))}:{self.date}"


def post_id(messages: Sequence[Mapping[str, Any]]) -> PostId:
    """Of a message, or of all messages of an album. Raises KeyError, IndexError, TypeError or ValueError."""
    first = messages[0]
    return PostId(
        int(first["chat"]["id"]), tuple(int(message["message_id"]) for message in messages), int(first["date"])
    )


def split_id(remote_id: str, home: str = "") -> PostId:
    """The parts of a post's id; a number alone, which ends a message's link, is one of unknown age in the chat `home`.
    Raises FaceError.
    """
    found = _ID.fullmatch(f"{home}:{remote_id}:0" if remote_id.isdigit() else remote_id)
    if found is None:
        raise FaceError(f"“{remote_id[:80]}” is no message of Telegram.", permanent=True)
    return PostId(int(found[1]), tuple(map(int, found[2].split(","))), int(found[3]))


def link(chat: Mapping[str, Any], message: int) -> str:
    """Where a message can be seen: by the name of a public chat, or by members of a private one; else empty."""
    if name := chat.get("username"):
        return f"https://t.me/{name}/{message}"
    number = str(chat.get("id", ""))
    return f"https://t.me/c/{number.removeprefix('-100')}/{message}" if number.startswith("-100") else ""


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def is_chat(chat: Mapping[str, Any], wanted: str) -> bool:
    """Whether this is the chat of a connection, known by number or @name."""
    if wanted.startswith("@"):
        return str(chat.get("username", "")).lower() == wanted[1:].lower()
    return str(chat.get("id")) == wanted


def author_of(message: Mapping[str, Any]) -> str:
    user, chat = message.get("from") or {}, message.get("sender_chat") or message.get("chat") or {}
    return str(user.get("username") or user.get("first_name") or chat.get("username") or chat.get("title") or "")


def text_of(message: Mapping[str, Any]) -> str:
    return str(message.get("text") or message.get("caption") or "")
