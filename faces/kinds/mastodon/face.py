"""The Mastodon face. Interface: docs.joinmastodon.org/methods; one call here is one request to the instance."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote

from faces import counting
from faces.contract import (
    Capabilities,
    Face,
    FaceError,
    Limit,
    OutgoingImage,
    OutgoingPost,
    Published,
    Reading,
    RemotePost,
    Verification,
)
from faces.entities import HASHTAG, NAME_AT_HOST, Entity, marked
from faces.http import Api
from faces.kinds.mastodon.instance import api, comparable, plain_text
from faces.kinds.mastodon.statuses import counts, in_thread, in_threads, is_missing, remote_post

PAGE = 40
MOST_PAGES = 100
RECENT_PAGES = 5
"""Pages of a list that has no end, such as a hashtag's."""
PROCESSING_SECONDS = 10.0
NEEDED = {"read": "read", "write:statuses": "post", "write:media": "upload images"}


class MastodonFace(Face):
    """See `faces.contract.Face`. The instance's own limits are read when the connection is checked, and kept in its
    settings.
    """

    capabilities = Capabilities(
        max_length=500,
        counts_by="graphemes",
        metrics=("likes", "shares", "comments"),
        can_reply=True,
        can_thread=True,
        max_images=4,
        reads=frozenset({"history", "accounts", "mentions", "comments", "communities"}),
        label="checked",
        limits=(Limit("publish", 300, 10_800), Limit("read", 300, 300)),
        batch=PAGE,
        idempotency="key",
        key_window=3600.0,
        may_learn=True,
    )

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.capabilities = replace(
            type(self).capabilities,
            max_length=int(connection.settings.get("max_characters", type(self).capabilities.max_length)),
            max_images=int(connection.settings.get("max_images", type(self).capabilities.max_images)),
        )

    def verify(self) -> Verification:
        instance = self._api.get("/api/v2/instance").data
        me = self._checked_account()
        present, missing = _permissions(self._scopes())
        for lacking, words in _faults(me):
            (missing if lacking else present).append(words)
        limits = instance.get("configuration", {}).get("statuses", {})
        settings = {
            name: int(limits[told])
            for name, told in {
                "max_characters": "max_characters",
                "link_weight": "characters_reserved_per_url",
                "max_images": "max_media_attachments",
            }.items()
            if isinstance(limits.get(told), int)
        }
        host = self.connection.settings["instance"].partition("://")[2]
        return Verification(f"@{me['acct']}@{host}", tuple(missing), settings, tuple(present))

    def publish(self, post: OutgoingPost, key: str) -> Published:
        body: dict[str, Any] = {"status": post.text, "visibility": self.connection.settings.get("visibility", "public")}
        if language := self.connection.settings.get("language"):
            body["language"] = language
        if post.reply_to:
            body["in_reply_to_id"] = post.reply_to
        if post.images:
            body["media_ids"] = [self._upload(image) for image in post.images]
        status = self._api.post("/api/v1/statuses", json=body, headers={"Idempotency-Key": key}).data
        return self._published(status)

    def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
        wanted = comparable(post.text)
        for status in self._statuses(since, str(self._me["id"])):
            if comparable(plain_text(status["content"])) == wanted:
                yield self._published(status)

    def delete(self, remote_id: str) -> None:
        try:
            self._api.delete(f"/api/v1/statuses/{remote_id}")
        except FaceError as error:
            if not is_missing(error):
                raise

    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        readings: dict[str, Reading | None] = dict.fromkeys(remote_ids)
        followers = self._me.get("followers_count")
        for start in range(0, len(remote_ids), PAGE):
            ids = list(remote_ids[start : start + PAGE])
            for status in self._several(ids):
                readings[str(status["id"])] = Reading(counts(status), followers)
        return readings

    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        whose = self._account_id(account) if account else str(self._me["id"])
        return self._posts(self._statuses(since, whose))

    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        if community:
            tag = community.lstrip("#")
            pages = self._pages(f"/api/v1/timelines/tag/{quote(tag, safe='')}", {}, since, RECENT_PAGES)
            statuses = [status for status in pages if str(status["account"]["id"]) != str(self._me["id"])]
            return self._posts(statuses, community=tag)
        mentions = self._pages("/api/v1/notifications", {"types[]": "mention"}, since)
        return self._posts(mention["status"] for mention in mentions if mention.get("status"))

    def look_up(self, remote_id: str) -> RemotePost | None:
        status = self._one(remote_id)
        return None if status is None else in_thread(self._api, remote_post(status, str(self._me["id"])))

    def count(self, text: str) -> int:
        return counting.mastodon(text, self.connection.settings.get("link_weight", counting.LINK_WEIGHT))

    def entities(self, text: str) -> list[Entity]:
        return marked(text, ("link", counting.LINK), ("mention", NAME_AT_HOST), ("hashtag", HASHTAG))

    @cached_property
    def _api(self) -> Api:
        return api(self.connection.settings["instance"], self.connection.secrets.get("access_token", ""))

    @cached_property
    def _me(self) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get("/api/v1/accounts/verify_credentials").data
        return found

    def _checked_account(self) -> dict[str, Any]:
        try:
            return self._me
        except FaceError as error:
            if error.status == 403:  # the account, whatever the server's words for it
                error.credentials = True
            raise

    def _scopes(self) -> list[str] | None:
        """What the token may do; None where the server does not say (before Mastodon 4.3)."""
        if told := self.connection.secrets.get("scope"):
            return str(told).split()
        try:
            found = self._api.get("/api/v1/apps/verify_credentials").data.get("scopes")
        except FaceError as error:
            if error.status in (403, 404):
                return None
            raise
        return [str(scope) for scope in found] if isinstance(found, list) else None

    def _account_id(self, account: str) -> str:
        """The instance's id of `name` or `name@host`."""
        try:
            return str(self._api.get("/api/v1/accounts/lookup", params={"acct": account.lstrip("@")}).data["id"])
        except FaceError as error:
            if is_missing(error):
                raise FaceError(
                    f"The instance knows no account {account}: write name@host, and look for it there once.",
                    permanent=True,
                    status=error.status,
                ) from error
            raise

    def _posts(self, newest_first: Iterable[Mapping[str, Any]], community: str = "") -> Iterable[RemotePost]:
        """Statuses as posts with their threads, oldest first."""
        own_id = str(self._me["id"])
        posts = [remote_post(status, own_id, community) for status in newest_first]
        return in_threads(self._api, posts[::-1])

    def _upload(self, image: OutgoingImage) -> str:
        try:
            media = self._api.post(
                "/api/v2/media",
                files={"file": ("image", image.content, image.media_type)},
                data={"description": image.alt_text},
            ).data
            self._await_processing(media)
        except FaceError as error:
            # An image that nobody sees: the post itself was not sent.
            raise FaceError(
                f"An image could not be uploaded: {error}",
                permanent=error.permanent,
                retry_after=error.retry_after,
                credentials=error.credentials,
            ) from error
        return str(media["id"])

    def _await_processing(self, media: dict[str, Any]) -> None:
        deadline = time.monotonic() + PROCESSING_SECONDS
        while media.get("url") is None:
            if time.monotonic() > deadline:
                raise FaceError("Mastodon is still processing an image.", permanent=False)
            time.sleep(0.5)
            media |= self._api.get(f"/api/v1/media/{media['id']}").data

    def _several(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self._api.get("/api/v1/statuses", params={"id[]": ids}).data
            return found
        except FaceError as error:
            if not is_missing(error):
                raise
        # Servers older than Mastodon 4.3, and others that speak its interface, know single posts only.
        return [status for remote_id in ids if (status := self._one(remote_id)) is not None]

    def _one(self, remote_id: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._api.get(f"/api/v1/statuses/{remote_id}").data
            return found
        except FaceError as error:
            if is_missing(error):
                return None
            raise

    def _statuses(self, since: datetime | None, account_id: str) -> Iterator[dict[str, Any]]:
        return self._pages(f"/api/v1/accounts/{account_id}/statuses", {"exclude_reblogs": "true"}, since)

    def _pages(
        self, path: str, params: dict[str, Any], since: datetime | None, most: int = MOST_PAGES
    ) -> Iterator[dict[str, Any]]:
        """What a list holds, newest first, until `since`."""
        asked = {"limit": PAGE, **params}
        for _ in range(most):
            found = self._api.get(path, params=asked).data
            for entry in found:
                if since is not None and datetime.fromisoformat(entry["created_at"]) < since:
                    return
                yield entry
            if not found:
                return
            asked["max_id"] = found[-1]["id"]

    def _published(self, status: Mapping[str, Any]) -> Published:
        try:
            return Published(str(status["id"]), status.get("url") or "", datetime.fromisoformat(status["created_at"]))
        except (KeyError, TypeError, ValueError):
            raise FaceError("Mastodon's answer names no post.", permanent=False, sent=True) from None


def _permissions(scopes: list[str] | None) -> tuple[list[str], list[str]]:
    """What the token may do and what it may not, in words: (present, missing)."""
    if scopes is None:
        return ["The instance takes the token; it does not say what the token may do."], []
    present, missing = [], []
    for scope, purpose in NEEDED.items():
        if scope in scopes or scope.partition(":")[0] in scopes:
            present.append(f"May {purpose} ({scope}).")
        else:
            missing.append(f"May not {purpose}: the token lacks {scope}. Allow Kilroy anew.")
    return present, missing


def _faults(me: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """What is said about the account itself: (whether it stands in the way, words)."""
    if me.get("bot"):
        yield False, "The account is marked as automated."
    else:
        yield True, "Mark the account as automated: Preferences → Public profile → “This is an automated account”."
    if me.get("suspended"):
        yield True, "The instance has suspended the account: ask its moderators."
    elif me.get("limited"):
        yield True, "The instance has limited the account, so that hardly anybody sees it: ask its moderators."
    if me.get("moved"):
        yield True, f"The account has moved to @{me['moved']['acct']}: connect that one."
