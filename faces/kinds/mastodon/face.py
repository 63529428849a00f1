"""The Mastodon face. Interface: docs.joinmastodon.org/methods; one call here is one request to the instance."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from faces import counting, outbound
from faces.contract import (
    Capabilities,
    Face,
    FaceError,
    OutgoingImage,
    OutgoingPost,
    Published,
    Reading,
    RemotePost,
    Verification,
)
from faces.http import Api
from faces.kinds.mastodon.instance import comparable, plain_text

PAGE = 40
MOST_PAGES = 100
PROCESSING_SECONDS = 10.0


class MastodonFace(Face):
    """See `faces.contract.Face`. The instance's own limits are read when the connection is checked, and kept in its
    settings.
    """

    capabilities = Capabilities(
        max_length=500,
        counts_by="graphemes",
        metrics=("likes", "shares", "comments"),
        can_reply=True,
        max_images=4,
        reads=frozenset({"history", "mentions"}),
        label="checked",
        idempotency="key",
        key_window=3600.0,
        may_learn=True,
    )

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.capabilities = replace(
            type(self).capabilities,
            max_length=int(connection.settings.get("max_characters", type(self).capabilities.max_length)),
        )

    def verify(self) -> Verification:
        instance = self._api.get("/api/v2/instance").data
        me = self._api.get("/api/v1/accounts/verify_credentials").data
        missing = []
        if not me.get("bot"):
            missing.append("Mark the account as automated: Preferences → Profile → “This is an automated account”.")
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
        return Verification(f"@{me['acct']}@{host}", tuple(missing), settings)

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
        for status in self._statuses(since):
            if comparable(plain_text(status["content"])) == wanted:
                yield self._published(status)

    def delete(self, remote_id: str) -> None:
        try:
            self._api.delete(f"/api/v1/statuses/{remote_id}")
        except FaceError as error:
            if not _is_missing(error):
                raise

    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        readings: dict[str, Reading | None] = dict.fromkeys(remote_ids)
        followers = self._me.get("followers_count")
        for start in range(0, len(remote_ids), PAGE):
            ids = list(remote_ids[start : start + PAGE])
            for status in self._several(ids):
                readings[str(status["id"])] = Reading(_counts(status), followers)
        return readings

    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        return [_remote(status) for status in reversed(list(self._statuses(since)))]

    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        mentions = self._pages("/api/v1/notifications", {"types[]": "mention"}, since)
        return [_remote(mention["status"]) for mention in reversed(list(mentions)) if mention.get("status")]

    def count(self, text: str) -> int:
        return counting.mastodon(text, self.connection.settings.get("link_weight", counting.LINK_WEIGHT))

    @cached_property
    def _api(self) -> Api:
        token = self.connection.secrets.get("access_token", "")
        return Api(
            "Mastodon",
            self.connection.settings["instance"],
            outbound.session(),
            headers={"Authorization": f"Bearer {token}"},
            explain=lambda data: str(data.get("error", "")) if isinstance(data, Mapping) else "",
        )

    @cached_property
    def _me(self) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get("/api/v1/accounts/verify_credentials").data
        return found

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
            if not _is_missing(error):
                raise
        # Servers older than Mastodon 4.3, and others that speak its interface, know single posts only.
        return [status for remote_id in ids if (status := self._one(remote_id)) is not None]

    def _one(self, remote_id: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._api.get(f"/api/v1/statuses/{remote_id}").data
            return found
        except FaceError as error:
            if _is_missing(error):
                return None
            raise

    def _statuses(self, since: datetime | None) -> Iterator[dict[str, Any]]:
        return self._pages(f"/api/v1/accounts/{self._me['id']}/statuses", {"exclude_reblogs": "true"}, since)

    def _pages(self, path: str, params: dict[str, Any], since: datetime | None) -> Iterator[dict[str, Any]]:
        """What a list holds, newest first, until `since`."""
        asked = {"limit": PAGE, **params}
        for _ in range(MOST_PAGES):
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


def _is_missing(error: FaceError) -> bool:
    return error.status in (404, 410)


def _counts(status: Mapping[str, Any]) -> dict[str, int]:
    told = {"likes": "favourites_count", "shares": "reblogs_count", "comments": "replies_count"}
    return {name: int(status[theirs]) for name, theirs in told.items() if status.get(theirs) is not None}


def _remote(status: Mapping[str, Any]) -> RemotePost:
    return RemotePost(
        remote_id=str(status["id"]),
        text=plain_text(status["content"]),
        at=datetime.fromisoformat(status["created_at"]),
        author=status["account"]["acct"],
        url=status.get("url") or "",
        metrics=_counts(status),
    )
