"""The Telegram face. Interface: core.telegram.org/bots/api; one call here is one request.

Length: 4,096 UTF-16 code units of a text, 1,024 of a text below images. Telegram has no alternative texts, so those of
images stay here. A bot cannot read what a chat holds: see `faces.kinds.telegram.received` for what it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any

from faces import counting
from faces.contract import (
    Capabilities,
    Face,
    FaceError,
    Limit,
    OutgoingImage,
    OutgoingPost,
    Parent,
    Published,
    Reading,
    RemotePost,
    Verification,
)
from faces.entities import HASHTAG, NAME, Entity, marked
from faces.kinds.telegram import received
from faces.kinds.telegram.api import GONE, TelegramApi, TelegramError
from faces.kinds.telegram.messages import PostId, link, moment, post_id, split_id
from faces.models import Connection
from faces.text import unsendable

LONGEST_CAPTION = 1024
LARGEST_PHOTO, LARGEST_ANIMATION = 10_000_000, 50_000_000
GIF = "image/gif"
PAGE = 100
MOST_PAGES = 50
ADMINISTRATORS = ("administrator", "creator")


class TelegramFace(Face):
    """See `faces.contract.Face`. Nothing repeats a publish, and nothing can find one: what became of a publish that
    Telegram did not answer is for a person to see.
    """

    capabilities = Capabilities(
        max_length=4096,
        counts_by="utf16",
        metrics=("likes",),
        can_reply=True,
        can_thread=True,
        max_images=10,
        reads=frozenset({"history", "mentions", "comments"}),
        replies="summoned",
        label="platform",
        limits=(Limit("publish", 1, 1), Limit("publish", 20, 60), Limit("read", 30, 1)),
        batch=received.MOST,
        idempotency="none",
        may_learn=False,
    )

    def verify(self) -> Verification:
        if not self._chat:
            return Verification("", ("Enter the channel or group that the bot posts to.",))
        me = self._api.call(dict, "getMe")
        try:
            chat = self._api.call(dict, "getChat", chat_id=self._chat)
            member = self._api.call(dict, "getChatMember", chat_id=self._chat, user_id=me["id"])
            missing = [*_missing_rights(chat, member), *self._listening()]
        except TelegramError as error:
            if not error.mend and error.status != 409:
                raise
            return Verification(f"@{me['username']}", (str(error),))
        present = ["The token is good, and the bot is in the chat."]
        if not missing:
            present.append("It may post and delete messages, and is told of reactions.")
        remembered = {
            "home": str(chat["id"]),
            "bot": str(me["id"]),
            "bot_name": me["username"],
            "linked": str(chat.get("linked_chat_id") or ""),
        }
        account = f"@{me['username']} in {chat.get('title') or self._chat}"
        return Verification(account, tuple(missing), remembered, tuple(present))

    def publish(self, post: OutgoingPost, key: str) -> Published:
        if objection := self.objection(post):
            raise FaceError(objection, permanent=True)
        chat = str(self._where(post.reply_to).chat) if post.reply_to else self._chat
        asked: dict[str, Any] = {"chat_id": chat}
        if post.reply_to:
            answered = self._where(post.reply_to).messages[0]
            asked["reply_parameters"] = {"message_id": answered, "allow_sending_without_reply": False}
        try:
            return _published(self._send(post, asked))
        except TelegramError as error:
            # No post of this connection can go out until its owner has changed something: they wait, none is lost.
            error.credentials |= error.mend and chat == self._chat
            raise

    def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
        """Nothing, always: a bot is not told of its own messages, and no method lists those of a chat."""
        return ()

    def delete(self, remote_id: str) -> None:
        post = self._where(remote_id)
        try:
            if len(post.messages) == 1:
                self._api.call(bool, "deleteMessage", chat_id=post.chat, message_id=post.messages[0])
            else:
                self._api.call(bool, "deleteMessages", chat_id=post.chat, message_ids=list(post.messages))
        except TelegramError as error:
            if GONE not in error.told.lower():
                raise

    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        known = self._poll()
        followers = self._api.call(int, "getChatMemberCount", chat_id=self._chat)
        readings: dict[str, Reading | None] = dict.fromkeys(remote_ids)
        for remote_id in remote_ids:
            with suppress(FaceError):  # what is no id at all, by a person's hand, is as good as gone
                likes = known.reactions(self._where(remote_id))
                readings[remote_id] = Reading({} if likes is None else {"likes": likes}, followers)
        return readings

    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        """What people posted to the channel since the bot listens."""
        if account:
            raise FaceError("Only the channel's own posts can be read on Telegram.", permanent=True)
        return self._received(since, posted=True)

    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        if community:
            raise FaceError("Only the connection's own chat can be read on Telegram.", permanent=True)
        return self._received(since, posted=False)

    def look_up(self, remote_id: str) -> RemotePost | None:
        """As it was last received: an edit is told, that a message was deleted is not. To answer one that is gone
        fails without being sent.
        """
        wanted = self._where(remote_id)
        posts = [*self._received(None, posted=False), *self._received(None, posted=True)]
        return next((post for post in posts if self._where(post.remote_id).is_in(wanted)), None)

    def count(self, text: str) -> int:
        return counting.utf16(text)

    def entities(self, text: str) -> list[Entity]:
        return marked(text, ("link", counting.X_LINK), ("mention", NAME), ("hashtag", HASHTAG))

    def objection(self, post: OutgoingPost) -> str:
        if not post.text.strip() and not post.images:
            return "Telegram takes no empty message: write something, or add an image."
        if post.images and (length := self.count(post.text)) > LONGEST_CAPTION:
            return f"The text has {length} characters; below images Telegram takes at most {LONGEST_CAPTION:,}."
        if len(post.images) > 1 and any(image.media_type == GIF for image in post.images):
            return "Telegram shows an animated image only alone: send it in a post of its own."
        if any(len(image.content) > _largest(image) for image in post.images):
            return "An image is larger than Telegram takes (10 MB, animated ones 50 MB)."
        return unsendable(post.text) or super().objection(post)

    @cached_property
    def _token(self) -> str:
        return str(self.connection.secrets.get("token", ""))

    @cached_property
    def _api(self) -> TelegramApi:
        return TelegramApi(self._token)

    @property
    def _chat(self) -> str:
        return str(self.connection.settings.get("chat", ""))

    def _where(self, remote_id: str) -> PostId:
        return split_id(remote_id, str(self.connection.settings.get("home", "")))

    def _listening(self) -> Iterable[str]:
        """Begin to listen; what keeps the bot from hearing everything."""
        twins = Connection.objects.filter(kind=self.connection.kind, settings__bot=received.bot_of(self._token))
        if twin := twins.filter(created_at__lt=self.connection.created_at).first():
            return [f"“{twin}” has the same bot, and Telegram tells each reaction only once: make a bot for each."]
        self._poll()
        return []

    def _send(self, post: OutgoingPost, asked: Mapping[str, Any]) -> list[Any]:
        """The messages that a post became."""
        if not post.images:
            preview = {"is_disabled": not self.connection.settings.get("link_previews", True)}
            return [self._api.call(dict, "sendMessage", text=post.text, link_preview_options=preview, **asked)]
        caption = {"caption": post.text} if post.text else {}
        files = {f"image{n}": (f"image{n}", i.content, i.media_type) for n, i in enumerate(post.images)}
        if len(post.images) == 1:
            (content,) = files.values()
            kind, method = ("animation", "sendAnimation") if content[2] == GIF else ("photo", "sendPhoto")
            return [self._api.call(dict, method, files={kind: content}, **asked, **caption)]
        media: list[dict[str, str]] = [{"type": "photo", "media": f"attach://{name}"} for name in files]
        media[0] |= caption
        return self._api.call(list, "sendMediaGroup", files=files, media=media, **asked)

    def _poll(self) -> received.Received:
        """Store what came since the last time. Asking for the next update confirms those that were stored."""
        known = received.load(self.connection)
        for _ in range(MOST_PAGES):
            updates = self._api.call(
                list, "getUpdates", offset=known.offset, limit=PAGE, timeout=0, allowed_updates=list(received.ALLOWED)
            )
            known = received.store(self.connection, received.bot_of(self._token), updates)
            if len(updates) < PAGE:
                break
        return known

    def _received(self, since: datetime | None, *, posted: bool) -> list[RemotePost]:
        known = self._poll()
        by_id = {entry["id"]: entry for entry in known.messages}
        return [
            _remote(entry, by_id, known)
            for entry in known.messages
            if entry["posted"] == posted and (since is None or moment(entry["date"]) >= since)
        ]


def _largest(image: OutgoingImage) -> int:
    return LARGEST_ANIMATION if image.media_type == GIF else LARGEST_PHOTO


def _missing_rights(chat: Mapping[str, Any], member: Mapping[str, Any]) -> list[str]:
    if member["status"] not in ADMINISTRATORS:
        return [
            "Make the bot an administrator of the chat: only then it is told of reactions, and may post in channels."
        ]
    needed = {"can_delete_messages": "Delete messages"}
    if chat["type"] == "channel":
        needed = {"can_post_messages": "Post messages", **needed}
    lacking = [words for name, words in needed.items() if member["status"] != "creator" and not member.get(name)]
    return [f"Give the bot these rights as an administrator of the chat: {', '.join(lacking)}."] if lacking else []


def _published(messages: list[Any]) -> Published:
    try:
        post = post_id(messages)
        return Published(str(post), link(messages[0]["chat"], post.messages[0]), moment(post.date))
    except (KeyError, IndexError, TypeError, ValueError):
        raise FaceError("Telegram's answer names no message.", permanent=False, sent=True) from None


def _remote(entry: Mapping[str, Any], by_id: Mapping[str, Any], known: received.Received) -> RemotePost:
    parents: list[Parent] = []
    above = entry["above"]
    while above and len(parents) < PAGE:
        parents.insert(0, Parent(above["author"], above["text"]))
        above = by_id.get(above["id"], {}).get("above")
    likes = known.reactions(split_id(entry["id"]))
    return RemotePost(
        remote_id=entry["id"],
        text=entry["text"],
        at=moment(entry["date"]),
        author=entry["author"],
        url=link(entry["chat"], entry["number"]),
        metrics={} if likes is None else {"likes": likes},
        reply_to=entry["above"]["id"] if entry["above"] else "",
        root_id=entry["root"] or entry["id"],
        depth=len(parents),
        parents=tuple(parents),
        community=str(entry["chat"]["id"]),
        author_is_bot=entry["is_bot"],
        summoned=entry["summoned"],
    )
