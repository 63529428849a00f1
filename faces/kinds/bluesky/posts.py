"""Posts as Bluesky keeps and shows them, as Kilroy's. Formats: app.bsky.feed.post, app.bsky.feed.defs#postView."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from faces.contract import FaceError, Parent, RemotePost

COLLECTION = "app.bsky.feed.post"
COUNTS = {"likes": "likeCount", "shares": "repostCount", "comments": "replyCount", "quotes": "quoteCount"}
_URI = re.compile(r"at://(did:[a-z]+:[\w.:%-]+)/([a-zA-Z.]+)/([\w.~:-]{1,512})")


class Uri(NamedTuple):
    """at://repo/collection/rkey: the permanent id of a record."""

    repo: str
    collection: str
    rkey: str

    def __str__(self) -> str:
        return f"at://{self.repo}/{self.collection}/{self.rkey}"

    @property
    def url(self) -> str:
        """The post's page in Bluesky's own app."""
        return f"https://bsky.app/profile/{self.repo}/post/{self.rkey}"


def parse_uri(text: str) -> Uri:
    """Raises FaceError for what is no post's id."""
    if not (found := _URI.fullmatch(text)):
        raise FaceError(f"“{text[:100]}” is no id of a post on Bluesky (at://…).", permanent=True)
    return Uri(*found.groups())


def moment(told: Any) -> datetime | None:
    """A time as records write it; None for what is none (any client may write anything)."""
    try:
        at = datetime.fromisoformat(told)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def counts(view: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(view[theirs]) for name, theirs in COUNTS.items() if view.get(theirs) is not None}


def is_labelled(labels: Any) -> bool:
    """Whether labels (of a view, or a record's own) call an account automated."""
    values = labels.get("values", ()) if isinstance(labels, Mapping) else labels or ()
    return any(isinstance(label, Mapping) and label.get("val") == "bot" and not label.get("neg") for label in values)


def remote_post(view: Mapping[str, Any], me: str, parents: Sequence[Mapping[str, Any]] = ()) -> RemotePost:
    """A post's view as Kilroy's; `me` is the account's DID, `parents` the views above it, oldest first."""
    record, author = view.get("record", {}), view.get("author", {})
    reply = record.get("reply") or {}
    above = str(reply.get("parent", {}).get("uri", ""))
    shown, said = moment(view.get("indexedAt")), moment(record.get("createdAt"))
    known = [at for at in (shown, said) if at is not None]
    return RemotePost(
        remote_id=view["uri"],
        text=str(record.get("text", "")),
        # Bluesky itself sorts by the earlier one: authors may date a post as they like.
        at=min(known) if known else datetime.now(UTC),
        author=str(author.get("handle", "")),
        url=parse_uri(view["uri"]).url,
        metrics=counts(view),
        reply_to=above,
        root_id=str(reply.get("root", {}).get("uri", "")) or view["uri"],
        depth=len(parents) or bool(above),
        parents=tuple(Parent(p["author"].get("handle", ""), str(p["record"].get("text", ""))) for p in parents),
        language=next(iter(record.get("langs") or ()), ""),
        author_is_bot=is_labelled(author.get("labels")),
        summoned=above.startswith(f"at://{me}/") or _mentions(record, me),
        closed="Its author lets only some people answer." if view.get("viewer", {}).get("replyDisabled") else "",
    )


def _mentions(record: Mapping[str, Any], did: str) -> bool:
    return any(
        feature.get("did") == did for facet in record.get("facets") or () for feature in facet.get("features") or ()
    )
