"""The Bluesky face. Interface: docs.bsky.app, atproto.com/specs.

A post is written with `putRecord` under a record key that is made from the post's key, on the condition that there is
no record of that key (`swapRecord: null`): whatever was sent before with the key stays as it is, and is the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any

from accounts import clock
from faces import counting
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
from faces.entities import Entity
from faces.kinds.bluesky.posts import (
    COLLECTION,
    Uri,
    counts,
    is_labelled,
    moment,
    parse_uri,
    remote_post,
    timestamp,
)
from faces.kinds.bluesky.richtext import entities, facets
from faces.kinds.bluesky.tid import tid
from faces.kinds.bluesky.xrpc import Xrpc, XrpcError, check_active, unsent
from faces.text import unsendable

BATCH = 25
PAGE = 100
MOST_PAGES = 100
MOST_BYTES = 3000
MOST_IMAGE_BYTES = 1_000_000
"""What every server of the network takes; newer ones take twice as much."""
PROFILE = ("app.bsky.actor.profile", "self")


class BlueskyFace(Face):
    """See `faces.contract.Face`. A post's remote id is its at:// address."""

    capabilities = Capabilities(
        max_length=300,
        counts_by="graphemes",
        metrics=("likes", "shares", "comments", "quotes"),
        can_reply=True,
        can_thread=True,
        max_images=4,
        reads=frozenset({"history", "accounts", "mentions", "comments", "communities"}),
        label="checked",
        # 5,000 points an hour and 35,000 a day, 3 for a new record; 3,000 calls in five minutes from one address.
        limits=(Limit("publish", 1666, 3600), Limit("publish", 11_666, 86_400), Limit("read", 3000, 300)),
        batch=BATCH,
        idempotency="key",
        may_learn=True,
    )

    def verify(self) -> Verification:
        me = self._xrpc.get("com.atproto.server.getSession")
        check_active(me)
        profile = self._record_at(Uri(self._xrpc.did, *PROFILE)) or {}
        labelled = is_labelled((profile.get("value") or {}).get("labels"))
        if not labelled and self.connection.settings.get("label_account"):
            self._set_label(profile)
            labelled = True
        missing = (
            "" if labelled else "Mark the account as automated: edit this connection and let Kilroy set the label."
        )
        return Verification(
            f"@{me.get('handle', '')}",
            missing=(missing,) if missing else (),
            present=("The account is marked as automated.",) if labelled else (),
        )

    def publish(self, post: OutgoingPost, key: str) -> Published:
        with unsent():
            record = self._record(post)
            uri = Uri(self._xrpc.did, COLLECTION, tid(key))
        try:
            done = self._xrpc.post("com.atproto.repo.putRecord", **_address(uri), record=record, swapRecord=None)
        except XrpcError as error:
            if error.name != "InvalidSwap":
                raise
            return self._first(uri)
        if done.get("uri") != str(uri):
            raise FaceError("Bluesky's answer names no post.", permanent=False, sent=True)
        return _published(uri, record)

    def find(self, key: str, post: OutgoingPost, since: datetime) -> Iterable[Published]:
        uri = Uri(self._xrpc.did, COLLECTION, tid(key))
        found = self._record_at(uri)
        return [_published(uri, found["value"])] if found else []

    def delete(self, remote_id: str) -> None:
        self._xrpc.post("com.atproto.repo.deleteRecord", **_address(parse_uri(remote_id)))

    def metrics(self, remote_ids: Sequence[str]) -> dict[str, Reading | None]:
        followers = self._followers
        readings: dict[str, Reading | None] = {}
        shown = self._views(remote_ids)
        for remote_id in remote_ids:
            if remote_id in shown:
                readings[remote_id] = Reading(counts(shown[remote_id]), followers)
            else:  # gone, or not yet where reactions are counted: only the account's own server knows
                readings[remote_id] = Reading({}, followers) if self._record_at(parse_uri(remote_id)) else None
        return readings

    def history(self, since: datetime | None, account: str = "") -> Iterable[RemotePost]:
        account = account.strip().removeprefix("@")
        if account and account not in (self._xrpc.did, self.connection.settings["identifier"]):
            return self._history_of(account, since)
        return self._own_history(since)

    def inbox(self, since: datetime | None, community: str = "") -> Iterable[RemotePost]:
        if community:
            return self._search(community, since)
        return self._notified(since)

    def look_up(self, remote_id: str) -> RemotePost | None:
        parse_uri(remote_id)
        try:
            found = self._xrpc.get("app.bsky.feed.getPostThread", "thread", uri=remote_id, depth=0, parentHeight=80)
        except XrpcError as error:
            if error.name == "NotFound":
                return None
            raise
        thread = found["thread"]
        if "post" not in thread:  # not found, or one of the two has blocked the other
            return None
        parents: list[Mapping[str, Any]] = []
        above = thread.get("parent") or {}
        while "post" in above:
            parents.insert(0, above["post"])
            above = above.get("parent") or {}
        return remote_post(thread["post"], self._xrpc.did, parents)

    def count(self, text: str) -> int:
        return counting.graphemes(text)

    def entities(self, text: str) -> list[Entity]:
        return entities(text)

    def excess(self, text: str) -> int:
        return max(super().excess(text), len(text.encode()) - MOST_BYTES)

    def objection(self, post: OutgoingPost) -> str:
        if objection := unsendable(post.text) or super().objection(post):
            return objection
        if (size := len(post.text.encode())) > MOST_BYTES:
            return f"The text has {size} bytes; Bluesky takes at most {MOST_BYTES}: use fewer composed characters."
        if any(len(image.content) > MOST_IMAGE_BYTES for image in post.images):
            return "An image is larger than 1 MB, the most that Bluesky takes: make it smaller."
        return ""

    @cached_property
    def _xrpc(self) -> Xrpc:
        return Xrpc(self.connection)

    @cached_property
    def _followers(self) -> int | None:
        told = self._xrpc.get("app.bsky.actor.getProfile", actor=self._xrpc.did).get("followersCount")
        return None if told is None else int(told)

    def _set_label(self, found: Mapping[str, Any]) -> None:
        """Call the account automated in its profile, as it was `found`."""
        profile = dict(found.get("value") or {"$type": PROFILE[0]})
        values = [*(profile.get("labels") or {}).get("values", []), {"val": "bot"}]
        profile["labels"] = {"$type": "com.atproto.label.defs#selfLabels", "values": values}
        # Only what was read is replaced: another client may have changed the profile meanwhile.
        uri = Uri(self._xrpc.did, *PROFILE)
        self._xrpc.post("com.atproto.repo.putRecord", **_address(uri), record=profile, swapRecord=found.get("cid"))

    def _record(self, post: OutgoingPost) -> dict[str, Any]:
        record: dict[str, Any] = {"$type": COLLECTION, "text": post.text, "createdAt": timestamp(clock.now())}
        if languages := self.connection.settings.get("languages"):
            record["langs"] = languages.split(", ")
        if found := facets(post.text, self._resolve):
            record["facets"] = found
        if post.reply_to:
            record["reply"] = self._reply(parse_uri(post.reply_to))
        if post.images:
            with unsent("An image could not be uploaded: "):
                images = [
                    {"image": self._xrpc.upload(image.content, image.media_type), "alt": image.alt_text}
                    for image in post.images
                ]
            record["embed"] = {"$type": "app.bsky.embed.images", "images": images}
        return record

    def _resolve(self, handle: str) -> str | None:
        try:
            return str(self._xrpc.get("com.atproto.identity.resolveHandle", "did", handle=handle)["did"])
        except XrpcError as error:
            if error.status == 400:
                return None
            raise

    def _reply(self, parent: Uri) -> dict[str, Any]:
        found = self._record_at(parent)
        if not found:
            raise FaceError("The post to be answered is gone.", permanent=True)
        here = {"uri": str(parent), "cid": found["cid"]}
        above = found["value"].get("reply") or {}
        return {"root": above.get("root", here), "parent": here}

    def _record_at(self, uri: Uri) -> dict[str, Any] | None:
        """A record with its `cid` and `value`; None where there is none."""
        try:
            return self._xrpc.get("com.atproto.repo.getRecord", "cid", "value", **_address(uri))
        except XrpcError as error:
            if error.name == "RecordNotFound" or "Could not locate record" in str(error):
                return None
            raise

    def _first(self, uri: Uri) -> Published:
        """What an earlier attempt with the same key left."""
        try:
            found = self._record_at(uri)
        except FaceError as error:
            raise FaceError(str(error), permanent=False, sent=True, retry_after=error.retry_after) from error
        if not found:
            raise FaceError("Bluesky says that the post is there, but does not show it.", permanent=False, sent=True)
        return _published(uri, found["value"])

    def _views(self, uris: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        views: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(uris), BATCH):
            asked = list(uris[start : start + BATCH])
            found = self._xrpc.get("app.bsky.feed.getPosts", "posts", uris=asked)["posts"]
            views |= {view["uri"]: view for view in found}
        return views

    def _own_history(self, since: datetime | None) -> Iterator[RemotePost]:
        """By the account's own server, which has every post at once, with counts where there is an AppView."""
        me = self._xrpc.did
        listed = self._pages("com.atproto.repo.listRecords", "records", repo=me, collection=COLLECTION)
        # All of them: a post's key tells when it was written, which may be long before it was sent.
        dated = [(moment(record["value"].get("createdAt")), record) for record in listed]
        wanted = sorted(
            ((at, record["uri"], record) for at, record in dated if at is not None and (since is None or at >= since)),
            key=lambda entry: entry[:2],
        )
        counted, remaining = True, iter(wanted)
        author = {"handle": self.connection.settings["identifier"]}
        while batch := list(islice(remaining, BATCH)):
            views: Mapping[str, Mapping[str, Any]] = {}
            try:
                views = self._views([uri for _, uri, _ in batch]) if counted else {}
            except XrpcError as error:
                if not error.permanent:
                    raise
                counted = False  # a server without AppView
            for _, uri, record in batch:
                yield remote_post(views.get(uri) or {"uri": uri, "record": record["value"], "author": author}, me)

    def _history_of(self, account: str, since: datetime | None) -> Iterator[RemotePost]:
        found = []
        for entry in self._pages("app.bsky.feed.getAuthorFeed", "feed", actor=account, filter="posts_with_replies"):
            if "reason" in entry and entry["reason"].get("$type") != "app.bsky.feed.defs#reasonPin":
                continue  # somebody else's post, passed on
            post = remote_post(entry["post"], self._xrpc.did)
            if since is not None and post.at < since:
                if "reason" in entry:
                    continue  # pinned on top, whatever its age
                break
            found.append(post)
        return reversed(found)

    def _search(self, query: str, since: datetime | None) -> Iterator[RemotePost]:
        found = []
        params = {} if since is None else {"since": timestamp(since)}
        for view in self._pages("app.bsky.feed.searchPosts", "posts", q=query, sort="latest", **params):
            post = remote_post(view, self._xrpc.did)
            if since is not None and post.at < since:
                break
            if parse_uri(post.remote_id).repo != self._xrpc.did:
                found.append(post)
        for post in reversed(found):
            seen = self.look_up(post.remote_id) if post.reply_to else post
            if seen is not None:
                yield seen

    def _notified(self, since: datetime | None) -> Iterator[RemotePost]:
        uris = []
        reasons = ["mention", "reply"]
        for told in self._pages("app.bsky.notification.listNotifications", "notifications", reasons=reasons):
            at = moment(told.get("indexedAt"))
            if since is not None and at is not None and at < since:
                break
            if told.get("reason") in reasons:  # older servers do not know the parameter
                uris.append(told["uri"])
        for uri in dict.fromkeys(reversed(uris)):  # one post may both mention and answer
            post = self.look_up(uri)
            if post is not None:
                yield post

    def _pages(self, method: str, entries: str, **params: Any) -> Iterator[dict[str, Any]]:
        """What a list holds, newest first."""
        for _ in range(MOST_PAGES):
            found = self._xrpc.get(method, entries, limit=PAGE, **params)
            yield from found[entries]
            if not found.get("cursor"):  # an empty page may still have others behind it
                return
            params["cursor"] = found["cursor"]


def _address(uri: Uri) -> dict[str, str]:
    return {"repo": uri.repo, "collection": uri.collection, "rkey": uri.rkey}


def _published(uri: Uri, record: Mapping[str, Any]) -> Published:
    return Published(str(uri), uri.url, moment(record.get("createdAt")) or clock.now())
