"""Discord's HTTP interface, and what its error codes mean for the owner of a connection.

Reference: discord.com/developers/docs, topics “HTTP status codes and JSON error codes” and “Rate limits”.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from accounts import outbound
from faces.contract import FaceError
from faces.http import Api

BASE = "https://discord.com/api/v10"

UNKNOWN_CHANNEL, UNKNOWN_SERVER, UNKNOWN_MEMBER, UNKNOWN_MESSAGE = 10003, 10004, 10007, 10008
MISSING_ACCESS, NOT_A_TEXT_CHANNEL, MISSING_PERMISSIONS = 50001, 50008, 50013
OWNERS_TO_MEND = {UNKNOWN_CHANNEL, UNKNOWN_SERVER, MISSING_ACCESS, NOT_A_TEXT_CHANNEL, MISSING_PERMISSIONS}
"""Refusals of the connection's own channel that stop every post, until somebody changes something on Discord."""

MEANINGS = {
    UNKNOWN_CHANNEL: "There is no such channel: it was deleted, or its id is wrong.",
    UNKNOWN_SERVER: "There is no such server, or the bot is no member of it: invite the bot.",
    UNKNOWN_MESSAGE: "The message is gone.",
    20016: "The channel is in slow mode: the bot must wait before its next message.",
    40005: "The images are too large for Discord.",
    50045: "An image is too large for Discord.",
    50046: "Discord cannot read one of the images.",
    MISSING_ACCESS: "The bot cannot see the channel: invite it to the server, and allow its role “View Channel” there.",
    50006: "Discord takes no empty message: write something, or add an image.",
    NOT_A_TEXT_CHANNEL: "The channel takes no text: choose a text channel.",
    MISSING_PERMISSIONS: "The bot lacks a permission in the channel: check the connection to see which.",
    50083: "The thread is archived: nobody can write there.",
    160002: "The bot needs the permission “Read Message History” to answer a message.",
    200000: "The server's automatic moderation blocked the message.",
    240000: "Discord blocked the message because of a link in it.",
    "BASE_TYPE_MAX_LENGTH": "A text in it is too long.",
    "REPLIES_UNKNOWN_MESSAGE": "The message to answer is gone.",
}


class DiscordError(FaceError):
    """A refusal with Discord's own error code, 0 where it gave none."""

    code = 0


class DiscordApi(Api):
    """One call is one request; refusals are DiscordErrors."""

    def __init__(self, token: str) -> None:
        super().__init__(
            "Discord",
            settings.API_BASES.get("discord", BASE),
            outbound.session(),
            headers={
                "Authorization": f"Bot {token}",
                # Discord asks for this form; its front end may block others.
                "User-Agent": f"DiscordBot ({settings.PUBLIC_URL or 'https://localhost'}, 1) Kilroy",
            },
            explain=explain,
        )

    def one(self, path: str) -> dict[str, Any]:
        """One thing (a user, a channel, a message …). Raises FaceError when the answer is none."""
        found = self.get(path).data
        if not isinstance(found, dict) or not found:
            raise FaceError("Discord's answer cannot be understood.", permanent=False)
        return found

    def several(self, path: str, **asked: Any) -> list[dict[str, Any]]:
        """A list of things. Raises FaceError when the answer is none."""
        found = self.get(path, params=asked).data
        if not isinstance(found, list):
            raise FaceError("Discord's answer cannot be understood.", permanent=False)
        return found

    def _refusal(self, status: int, headers: Mapping[str, str], data: Any) -> FaceError:
        told = data if isinstance(data, Mapping) else {}
        wait = told.get("retry_after")
        if "retry-after" not in headers and isinstance(wait, int | float):
            headers = {**headers, "retry-after": str(wait)}
        plain = super()._refusal(status, headers, data)
        words = "Discord does not take the bot's token (any more): enter a new one." if status == 401 else str(plain)
        error = DiscordError(
            words,
            permanent=plain.permanent,
            sent=plain.sent,
            retry_after=plain.retry_after,
            credentials=plain.credentials,
            status=status,
        )
        error.code = told["code"] if isinstance(told.get("code"), int) else 0
        return error


def explain(data: Any) -> str:
    """An error's meaning in our words where we know it, else in Discord's."""
    if not isinstance(data, Mapping):
        return ""
    if meaning := MEANINGS.get(data.get("code", 0)):
        return meaning
    details = [MEANINGS.get(code) or f"{where}: {message}" for where, code, message in _details(data.get("errors"))]
    return " ".join(details) or str(data.get("message", ""))


def _details(errors: Any, where: str = "") -> Iterator[tuple[str, str, str]]:
    """(field, code, message) of every entry of a nested `errors` object."""
    if not isinstance(errors, Mapping):
        return
    for name, value in errors.items():
        if name != "_errors":
            yield from _details(value, f"{where}.{name}".lstrip("."))
        elif isinstance(value, list):
            for entry in value:
                yield where, str(entry.get("code", "")), str(entry.get("message", ""))
