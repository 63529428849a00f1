"""Discord's messages: their ids and times, and what the rest of Kilroy sees of them.

A post's id here is `<channel id>-<message id>`, because Discord finds a message by both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from faces.contract import FaceError, Parent, RemotePost

EPOCH = datetime(2015, 1, 1, tzinfo=UTC)
"""When Discord's ids begin to count milliseconds."""

DEFAULT, REPLY = 0, 19
WRITTEN = frozenset({DEFAULT, REPLY})
"""Types of messages that somebody wrote; the others are notices of the platform."""

_MENTION = re.compile(r"<@!?(\d+)>")


def snowflake(moment: datetime) -> int:
    """The least id that a message of this moment can have."""
    return max(0, (moment - EPOCH) // timedelta(milliseconds=1)) << 22


def post_id(message: Mapping[str, Any]) -> str:
    return f"{message['channel_id']}-{message['id']}"


def split_id(remote_id: str, home: str = "") -> tuple[str, str]:
    """(channel, message) of a post's id; a number alone, which ends a message's link, is one in the channel `home`.
    Raises FaceError.
    """
    channel, _, message = remote_id.partition("-") if "-" in remote_id else (home, "", remote_id)
    if not (channel.isdigit() and message.isdigit()):
        raise FaceError(f"“{remote_id[:80]}” is no message of Discord.", permanent=True)
    return channel, message


def comparable(text: str) -> str:
    """A text without the white space that Discord trims."""
    return re.sub(r"\s+", " ", text).strip()


def readable(message: Mapping[str, Any]) -> str:
    """A message's text with names instead of the ids of those it mentions."""
    names = {user["id"]: user["username"] for user in message.get("mentions", [])}
    return _MENTION.sub(lambda found: f"@{names.get(found[1], found[1])}", message.get("content", ""))


def counts(message: Mapping[str, Any]) -> dict[str, int]:
    """Reactions of all kinds, and messages in the thread below where there is one. Discord leaves `reactions` out of a
    message that has none.
    """
    found = {"likes": sum(int(reaction["count"]) for reaction in message.get("reactions") or ())}
    thread = message.get("thread") or {}
    if isinstance(thread.get("message_count"), int):
        found["comments"] = thread["message_count"]
    return found


def is_answer_to(message: Mapping[str, Any], account: str) -> bool:
    """Whether a message mentions the account or answers one of its messages."""
    mentioned = any(user["id"] == account for user in message.get("mentions", []))
    return mentioned or _author(message.get("referenced_message") or {}).get("id") == account


def remote(
    message: Mapping[str, Any], *, account: str, server: str, known: Mapping[str, Mapping[str, Any]], closed: str = ""
) -> RemotePost:
    """A message as a RemotePost; `known` holds messages by id, through which its thread is followed upwards."""
    above = _above(message, known)
    parents = tuple(Parent(_author(parent).get("username", ""), readable(parent)) for parent in above)
    channel, replied = message["channel_id"], _replied(message)
    root = _replied(above[0]) or above[0]["id"] if above else replied
    return RemotePost(
        remote_id=post_id(message),
        text=readable(message),
        at=datetime.fromisoformat(message["timestamp"]),
        author=_author(message).get("username", ""),
        url=f"https://discord.com/channels/{server or '@me'}/{channel}/{message['id']}",
        metrics=counts(message),
        reply_to=f"{channel}-{replied}" if replied else "",
        root_id=f"{channel}-{root or message['id']}",
        depth=len(above) + bool(_replied(above[0] if above else message)),
        parents=parents,
        community=channel,
        author_is_bot=bool(_author(message).get("bot") or message.get("webhook_id")),
        summoned=is_answer_to(message, account),
        closed=closed or ("" if message.get("type", DEFAULT) in WRITTEN else "This is a notice of Discord."),
    )


def _above(message: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The messages above this one, oldest first, as far as they are known."""
    found: list[Mapping[str, Any]] = []
    at = message
    while replied := _replied(at):
        above = at.get("referenced_message") or known.get(replied)
        if above is None or len(found) >= 50:
            break
        at = known.get(replied, above)
        found.insert(0, at)
    return found


def _replied(message: Mapping[str, Any]) -> str:
    if message.get("type") != REPLY:
        return ""
    return str((message.get("message_reference") or {}).get("message_id") or "")


def _author(message: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = message.get("author") or {}
    return found
