"""What a bot has received: reactions and messages come to it once, as updates that Telegram keeps for 24 hours.

They are kept sealed beside the token, bounded in number, and an update is confirmed (by asking for the next one) only
after it was stored. Everything here can be applied twice without harm.

Nothing lists a message's reactions on request. So a count is known from an update that told it, or it is 0 where
nothing was missed since the message appeared: `since` is that moment's bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import transaction

from accounts import clock, vault
from faces.kinds.telegram.messages import PostId, author_of, is_chat, post_id, text_of
from faces.models import Connection

ALLOWED = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "message_reaction",
    "message_reaction_count",
    "my_chat_member",
)
KEPT_SECONDS = 24 * 3600 - 600
"""How long Telegram keeps updates, with ten minutes to spare."""
MOST = 500
MOST_CHARACTERS = 300_000
_PLACE = "received"
_TOLD_ALL = {"administrator", "creator"}
"""As what a bot is told of every reaction."""


@dataclass
class Received:
    """`offset`: the next update to ask for. `counts`: per chat and message, [reactions, whether Telegram told the
    total]. `dropped`: per chat, the newest message whose count was dropped. `forwards`: per message of the discussion
    group that is a channel post, that post's id.
    """

    bot: str = ""
    offset: int = 0
    since: float = 0.0
    asked_at: float = 0.0
    counts: dict[str, dict[str, tuple[int, bool]]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    forwards: dict[str, str] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)

    def reactions(self, post: PostId) -> int | None:
        """All reactions to a post; None where that cannot be known."""
        found = [self._reactions(post.chat, message, post.date) for message in post.messages]
        return None if None in found else sum(count for count in found if count)

    def _reactions(self, chat: int, message: int, date: int) -> int | None:
        count, total_told = self.counts.get(str(chat), {}).get(str(message), (0, False))
        if total_told or (date >= self.since and message > self.dropped.get(str(chat), 0)):
            return max(0, count)
        return None


def load(connection: Connection) -> Received:
    """What the connection's present bot has received so far."""
    return _of(connection.secrets)


@transaction.atomic
def store(connection: Connection, bot: str, updates: Sequence[Mapping[str, Any]]) -> Received:
    """Add updates that this bot received just now. Does nothing when the connection has another bot by now."""
    held = Connection.locked(connection.pk)
    secrets = held.secrets
    received = _of(secrets)
    if received.bot != bot:
        return received
    _begin(received, clock.now().timestamp())
    for update in updates:
        _take(received, update, held.settings)
    _bound(received)
    held.credentials = vault.seal(held, "credentials", {**secrets, _PLACE: asdict(received)})
    held.save(update_fields=["credentials"])
    connection.credentials = held.credentials
    return received


def bot_of(token: str) -> str:
    """A bot's number, which its token begins with."""
    return token.partition(":")[0]


def _of(secrets: Mapping[str, Any]) -> Received:
    bot, kept = bot_of(secrets.get("token", "")), secrets.get(_PLACE) or {}
    return Received(**kept) if kept.get("bot") == bot else Received(bot=bot)


def _begin(received: Received, now: float) -> None:
    if not received.asked_at:
        received.since = now
    elif now - received.asked_at > KEPT_SECONDS:
        received.since = now - KEPT_SECONDS
        received.counts.clear()
    received.asked_at = now


def _take(received: Received, update: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    number = int(update["update_id"])
    # Numbers start anew, anywhere, after a week of silence: only the latest batch can be told from an old one.
    if received.offset - MOST <= number < received.offset:
        return
    received.offset = number + 1
    kind = next((kind for kind in ALLOWED if kind in update), "")
    content = update.get(kind) or {}
    chat = content.get("chat") or {}
    own, linked = is_chat(chat, str(settings.get("chat", ""))), str(chat.get("id")) == str(settings.get("linked"))
    if not (own or linked):
        return
    if kind == "my_chat_member":
        if {content["old_chat_member"]["status"], content["new_chat_member"]["status"]} - _TOLD_ALL:
            received.since = max(received.since, float(content["date"]))
            received.counts.pop(str(chat["id"]), None)
    elif kind in ("message_reaction", "message_reaction_count"):
        _count(received, kind, content)
    else:
        _keep(received, content, settings, posted=own and kind.endswith("channel_post"))


def _count(received: Received, kind: str, content: Mapping[str, Any]) -> None:
    counts = received.counts.setdefault(str(content["chat"]["id"]), {})
    message = str(content["message_id"])
    if kind == "message_reaction_count":
        counts[message] = (sum(int(reaction["total_count"]) for reaction in content["reactions"]), True)
    else:  # in groups, each person's change is told instead of the total
        before, told = counts.get(message, (0, False))
        counts[message] = (before + len(content["new_reaction"]) - len(content["old_reaction"]), told)


def _keep(received: Received, message: Mapping[str, Any], settings: Mapping[str, Any], *, posted: bool) -> None:
    above = message.get("reply_to_message") or {}
    for forward in (message, above):
        if forward.get("is_automatic_forward") and (origin := forward.get("forward_origin") or {}).get("message_id"):
            received.forwards[str(forward["message_id"])] = str(post_id([origin]))
    if not text_of(message) or message.get("is_automatic_forward"):
        return
    if not posted and is_chat(message.get("sender_chat") or {}, str(settings.get("chat", ""))):
        return  # somebody who writes in the channel's own name
    root = received.forwards.get(str(message.get("message_thread_id") or above.get("message_id") or ""), "")
    summoned = _is_summoned(message, above, received.bot, str(settings.get("bot_name", "")))
    if not (posted or summoned or root):
        return
    entry = {
        "id": str(post_id([message])),
        "chat": {name: message["chat"].get(name) for name in ("id", "username")},
        "number": message["message_id"],
        "date": message["date"],
        "text": text_of(message),
        "author": author_of(message),
        "is_bot": bool((message.get("from") or {}).get("is_bot")),
        "posted": posted,
        "summoned": summoned,
        "root": root,
        "above": _parent(received, above) if above else None,
    }
    received.messages = [known for known in received.messages if known["id"] != entry["id"]] + [entry]


def _parent(received: Received, above: Mapping[str, Any]) -> dict[str, Any]:
    post = received.forwards.get(str(above["message_id"])) or str(post_id([above]))
    return {"id": post, "author": author_of(above), "text": text_of(above)}


def _is_summoned(message: Mapping[str, Any], above: Mapping[str, Any], bot: str, name: str) -> bool:
    if above.get("is_automatic_forward") or str((above.get("from") or {}).get("id")) == bot:
        return True
    named = {str((entity.get("user") or {}).get("id")) for entity in message.get("entities") or ()}
    words = text_of(message).lower().split()
    return bot in named or (bool(name) and any(word.strip(".,:;!?()") == f"@{name.lower()}" for word in words))


def _bound(received: Received) -> None:
    """Drop the oldest of what there is too much of."""
    for chat, counts in received.counts.items():
        for message in sorted(counts, key=int)[:-MOST]:
            del counts[message]
            received.dropped[chat] = max(received.dropped.get(chat, 0), int(message))
    for message in sorted(received.forwards, key=int)[:-MOST]:
        del received.forwards[message]
    received.messages = sorted(received.messages, key=lambda entry: (entry["date"], entry["number"]))[-MOST:]
    while sum(len(entry["text"]) for entry in received.messages) > MOST_CHARACTERS:
        del received.messages[0]
