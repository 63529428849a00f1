"""The Discord face. Interface: discord.com/developers/docs; one call here is one request.

Length: 2,000 characters. “Our API uses Python 3, so the API calculates length based on the number of codepoints in the
string” (Discord's staff in discord/discord-api-docs issue 1315).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError

from accounts import clock
from faces.contract import (
    Capabilities,
    Face,
    FaceError,
    Limit,
    OutgoingPost,
    Published,
    Reading,
    RemotePost,
    Verification,
)
from faces.kinds.discord.api import (
    MEANINGS,
    MISSING_ACCESS,
    OWNERS_TO_MEND,
    UNKNOWN_CHANNEL,
    UNKNOWN_MEMBER,
    UNKNOWN_MESSAGE,
    UNKNOWN_SERVER,
    DiscordApi,
    DiscordError,
)
from faces.kinds.discord.forms import channel_id
from faces.kinds.discord.messages import (
    WRITTEN,
    comparable,
    counts,
    is_answer_to,
    post_id,
    remote,
    snowflake,
    split_id,
)
from faces.kinds.discord.permissions import THREADS, WRITABLE, missing_permissions
from faces.text import unsendable

PAGE = 100
MOST_PAGES = 100
MOST_PARENTS = 8
KEY_WINDOW = 180.0
"""Discord remembers a nonce for “the past few minutes”: three is the least that few can mean."""
LONGEST_NONCE = 25
LARGEST_IMAGE = 10 * 1024 * 1024
LONGEST_DESCRIPTION = 1024


class DiscordFace(Face):
    """See `faces.contract.Face`. Times are UTC; a post's id is `<channel id>-<message id>`."""

    capabilities = Capabilities(
        max_length=2000,
        counts_by="characters",
        metrics=("likes", "comments"),
        can_reply=True,
        can_thread=True,
        max_images=10,
        reads=frozenset({"history", "mentions", "communities"}),
        replies="summoned",
        label="platform",
        limits=(Limit("publish", 50, 1), Limit("read", 50, 1)),
        idempotency="key",
        key_window=KEY_WINDOW,
        may_learn=False,
    )

    def verify(self) -> Verification:
        if not self._channel:
            return Verification("", ("Enter the channel that the bot posts to.",))
        me = self._me
        try:
            channel = self._api.one(f"/channels/{self._channel}")
        except DiscordError as error:
            if error.code in (UNKNOWN_CHANNEL, MISSING_ACCESS):
                return Verification(me["username"], (MEANINGS[error.code],))
            raise
        missing = tuple(self._missing(channel))
        return Verification(
            f"{me['username']} in #{channel.get('name', self._channel)}",
            missing,
            {"server": str(channel.get("guild_id") or "")},
            ("The token is good, and the bot sees the channel.",)
            + (() if missing else ("It may write there, attach images, and read the channel's history.",)),
        )

    def publish(self, post: OutgoingPost, key: str) -> Published:
        if objection := self.objection(post):
            raise FaceError(objection, permanent=True)
        channel, answered = self._where(post.reply_to) if post.reply_to else (self._channel, "")
        try:
            message = self._api.post(f"/channels/{channel}/messages", **_request(post, key, channel, answered)).data
        except DiscordError as error:
            # No post of this connection can go out until its owner has changed something: they wait, none is lost.
            error.credentials |= error.code in OWNERS_TO_MEND and channel == self._channel
            raise
        return self._published(message)

    def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
        channel, answered = self._where(post.reply_to) if post.reply_to else (self._channel, "")
        own = [message for message in self._messages(channel, since) if self._is_mine(message)]
        by_nonce = [message for message in own if str(message.get("nonce", "")) == _nonce(key)]
        by_content = [m for m in own if m not in by_nonce and _looks_like(m, post, answered)]
        return [self._published(message) for message in by_nonce + by_content]

    def delete(self, remote_id: str) -> None:
        channel, message = self._where(remote_id)
        try:
            self._api.delete(f"/channels/{channel}/messages/{message}")
        except DiscordError as error:
            if error.code not in (UNKNOWN_MESSAGE, UNKNOWN_CHANNEL):
                raise

    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        readings: dict[str, Reading | None] = dict.fromkeys(remote_ids)
        wanted: dict[str, dict[str, str]] = {}
        for remote_id in remote_ids:
            with suppress(FaceError):  # what is no id at all, by a person's hand, is as good as gone
                channel, number = self._where(remote_id)
                wanted.setdefault(channel, {})[number] = remote_id
        for channel, numbers in wanted.items():
            for message in self._several(channel, set(numbers)):
                readings[numbers[str(message["id"])]] = Reading(counts(message))
        return readings

    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        if account:
            raise FaceError("Only the bot's own messages can be read on Discord.", permanent=True)
        own = [message for message in self._messages(self._channel, since) if self._is_mine(message)]
        return [self._remote(message, self._server, own) for message in reversed(own)]

    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        channel, server, closed = (self._channel, self._server, "") if not community else self._facts(community)
        found = [message for message in self._messages(channel, since) if message.get("type") in WRITTEN]
        others = [message for message in found if not self._is_mine(message)]
        if community and others and not any(_has_content(message) for message in others):
            raise FaceError(
                "Discord hides what others write there: switch on “Message Content Intent” in the Developer Portal "
                "(your application → Bot).",
                permanent=True,
            )
        answerable = [m for m in others if community or is_answer_to(m, self._me["id"])]
        return [self._remote(message, server, found, closed) for message in reversed(answerable)]

    def look_up(self, remote_id: str) -> RemotePost | None:
        channel, message_id = self._where(remote_id)
        message = self._one(channel, message_id)
        if message is None:
            return None
        _, server, closed = self._facts(channel)
        chain, at = [message], message
        for _ in range(MOST_PARENTS):
            above = at.get("referenced_message")
            reference = (above or {}).get("message_reference") or {}
            parent = self._one(channel, str(reference["message_id"])) if reference.get("message_id") else None
            chain += [found for found in (above, parent) if found]
            if parent is None:
                break
            at = parent
        return self._remote(message, server, chain, closed)

    def objection(self, post: OutgoingPost) -> str:
        if not post.text.strip() and not post.images:
            return "Discord takes no empty message: write something, or add an image."
        if any(len(image.content) > LARGEST_IMAGE for image in post.images):
            return "An image is larger than the 10 MiB that Discord takes."
        if any(len(image.alt_text) > LONGEST_DESCRIPTION for image in post.images):
            return f"An image's description is longer than the {LONGEST_DESCRIPTION:,} characters that Discord takes."
        return unsendable(post.text) or super().objection(post)

    @cached_property
    def _api(self) -> DiscordApi:
        return DiscordApi(self.connection.secrets.get("token", ""))

    @cached_property
    def _me(self) -> dict[str, Any]:
        return self._api.one("/users/@me")

    @property
    def _channel(self) -> str:
        return str(self.connection.settings.get("channel", ""))

    def _where(self, remote_id: str) -> tuple[str, str]:
        return split_id(remote_id, self._channel)

    @property
    def _server(self) -> str:
        return str(self.connection.settings.get("server", ""))

    def _missing(self, channel: Mapping[str, Any]) -> Iterator[str]:
        """What keeps the bot from working in a channel that it can see."""
        server_id = channel.get("guild_id")
        if channel["type"] not in WRITABLE or not server_id:
            yield "This is no text channel of a server: choose a text channel, an announcement channel or a thread."
            return
        thread = channel["type"] in THREADS
        try:
            server = self._api.one(f"/guilds/{server_id}")
            member = self._api.one(f"/guilds/{server_id}/members/{self._me['id']}")
            place = self._api.one(f"/channels/{channel['parent_id']}") if thread else channel
        except DiscordError as error:
            if error.code not in (UNKNOWN_SERVER, UNKNOWN_MEMBER, UNKNOWN_CHANNEL, MISSING_ACCESS):
                raise
            yield "The bot is no member of the channel's server: invite it."
            return
        if lacking := missing_permissions(member, server, place, thread=thread):
            yield f"Give the bot's role these permissions in the channel: {', '.join(lacking)}."
        until = member.get("communication_disabled_until")
        if until and datetime.fromisoformat(until) > clock.now():
            yield f"The bot is timed out on the server until {datetime.fromisoformat(until):%d %B %Y, %H:%M} UTC."
        if (channel.get("thread_metadata") or {}).get("locked"):
            yield "The thread is locked: choose another channel."

    def _facts(self, community: str) -> tuple[str, str, str]:
        """(id, server, why nobody can write there) of a channel."""
        try:
            wanted = channel_id(community)
        except ValidationError as error:
            raise FaceError(error.messages[0], permanent=True) from None
        channel = self._api.one(f"/channels/{wanted}")
        locked = (channel.get("thread_metadata") or {}).get("locked")
        return wanted, str(channel.get("guild_id") or ""), "The thread is locked." if locked else ""

    def _messages(self, channel: str, since: datetime | None) -> Iterator[dict[str, Any]]:
        """What a channel holds, newest first, until `since`."""
        least, before = snowflake(since) if since else 0, ""
        for _ in range(MOST_PAGES):
            found = self._page(channel, before)
            for message in found:
                if int(message["id"]) < least:
                    return
                yield message
            if len(found) < PAGE:
                return
            before = found[-1]["id"]

    def _page(self, channel: str, before: str) -> list[dict[str, Any]]:
        asked = {"before": before} if before else {}
        return self._api.several(f"/channels/{channel}/messages", limit=PAGE, **asked)

    def _several(self, channel: str, wanted: set[str]) -> Iterator[dict[str, Any]]:
        """Those of the wanted messages that exist, with as few requests as their distance allows: a page from the
        newest one downwards shows its neighbours too. What a page leaves out is asked for by itself, because a page is
        also empty when the bot may not read the channel's history.
        """
        pending = sorted(map(int, wanted), reverse=True)
        while pending:
            page = {int(m["id"]): m for m in self._page(channel, str(pending[0] + 1))} if len(pending) > 1 else {}
            least = min(page, default=pending[0])
            for message_id in [wanted_id for wanted_id in pending if wanted_id >= least]:
                message = page.get(message_id) or self._one(channel, str(message_id))
                if message is not None:
                    yield message
            pending = [wanted_id for wanted_id in pending if wanted_id < least]

    def _one(self, channel: str, message_id: str) -> dict[str, Any] | None:
        try:
            return self._api.one(f"/channels/{channel}/messages/{message_id}")
        except DiscordError as error:
            if error.code in (UNKNOWN_MESSAGE, UNKNOWN_CHANNEL):
                return None
            raise

    def _is_mine(self, message: Mapping[str, Any]) -> bool:
        return message.get("type") in WRITTEN and bool(message["author"]["id"] == self._me["id"])

    def _remote(
        self, message: Mapping[str, Any], server: str, known: Sequence[Mapping[str, Any]], closed: str = ""
    ) -> RemotePost:
        by_id = {str(found["id"]): found for found in known}
        return remote(message, account=self._me["id"], server=server, known=by_id, closed=closed)

    def _published(self, message: Any) -> Published:
        try:
            url = f"https://discord.com/channels/{self._server or '@me'}/{message['channel_id']}/{message['id']}"
            return Published(post_id(message), url, datetime.fromisoformat(message["timestamp"]))
        except (KeyError, TypeError, ValueError):
            raise FaceError("Discord's answer names no message.", permanent=False, sent=True) from None


def _nonce(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:LONGEST_NONCE]


def _request(post: OutgoingPost, key: str, channel: str, answered: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "content": post.text,
        "nonce": _nonce(key),
        "enforce_nonce": True,
        "allowed_mentions": {"parse": []},
    }
    if answered:
        body["message_reference"] = {"channel_id": channel, "message_id": answered, "fail_if_not_exists": True}
    if not post.images:
        return {"json": body}
    named = [(f"image-{n}.{image.media_type.partition('/')[2]}", image) for n, image in enumerate(post.images)]
    body["attachments"] = [
        {"id": str(n), "filename": name, "description": image.alt_text} for n, (name, image) in enumerate(named)
    ]
    return {
        "data": {"payload_json": json.dumps(body)},
        "files": {f"files[{n}]": (name, image.content, image.media_type) for n, (name, image) in enumerate(named)},
    }


def _looks_like(message: Mapping[str, Any], post: OutgoingPost, answered: str) -> bool:
    above = str((message.get("message_reference") or {}).get("message_id") or "")
    return (
        comparable(message["content"]) == comparable(post.text)
        and len(message.get("attachments", [])) == len(post.images)
        and above == answered
    )


def _has_content(message: Mapping[str, Any]) -> bool:
    return bool(message.get("content") or message.get("attachments") or message.get("embeds"))
