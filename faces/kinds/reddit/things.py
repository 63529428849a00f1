"""Posts (t3) and comments (t1) as Reddit's JSON has them, in the contract's words. A thing is `{"kind": …, "data": …}`,
its full name is such as t3_abc.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from faces.contract import Parent, RemotePost

Thing = Mapping[str, Any]

MOST_PARENTS = 8
DELETED, REMOVED = "[deleted]", "[removed]"
_BY_ITS_AUTHOR = ("deleted", "author", "user")


def moment(data: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(float(data["created_utc"]), UTC)


def text_of(thing: Thing) -> str:
    """A comment's text; a post's title, and its body after a blank line."""
    data = thing["data"]
    if thing["kind"] == "t1":
        return str(data.get("body") or "")
    title, body = str(data.get("title") or ""), str(data.get("selftext") or "")
    return f"{title}\n\n{body}" if body else title


def comparable(text: str) -> str:
    """A text without what Reddit may change: white space."""
    return " ".join(text.split())


def gone(data: Mapping[str, Any]) -> str:
    """“deleted” by its author, “removed” by somebody else, or empty."""
    by, text = data.get("removed_by_category"), data.get("body", data.get("selftext"))
    if by in _BY_ITS_AUTHOR or text == DELETED:
        return "deleted"
    return "removed" if by or data.get("removed") or data.get("banned_by") or text == REMOVED else ""


def closed(data: Mapping[str, Any]) -> str:
    """Why nobody can answer it; empty when one can."""
    return gone(data) or next((why for why in ("locked", "archived") if data.get(why)), "")


def counts(thing: Thing) -> dict[str, int]:
    """Reactions: likes are Reddit's score (upvotes less downvotes; below 0 counts as 0, as Reddit itself shows posts),
    the ratio of upvotes is in percent. A comment carries its whole thread's number of comments, which is not its own.
    """
    data, found = thing["data"], {}
    if isinstance(data.get("score"), int) and not data.get("score_hidden"):
        found["likes"] = max(0, data["score"])
    if thing["kind"] == "t3":
        if isinstance(data.get("upvote_ratio"), int | float):
            found["upvote_ratio"] = round(100 * data["upvote_ratio"])
        if isinstance(data.get("num_comments"), int):
            found["comments"] = data["num_comments"]
    return found


def is_bot(author: str) -> bool:
    """Reddit does not mark programs in its interface; by custom their names say so."""
    return author == "AutoModerator" or re.search(r"bot\d*$", author, re.IGNORECASE) is not None


def address(data: Mapping[str, Any]) -> str:
    path = data.get("permalink") or str(data.get("context") or "").partition("?")[0]
    return f"https://www.reddit.com{path}" if path else ""


def remote(thing: Thing, above: Sequence[Thing] = (), me: str = "") -> RemotePost:
    """A thing with the things `above` it in its thread, oldest first; `me` is the account's name."""
    data, author = thing["data"], str(thing["data"].get("author") or DELETED)
    text, parent = text_of(thing), above[-1]["data"].get("author") if above else None
    return RemotePost(
        remote_id=data["name"],
        text=text,
        at=moment(data),
        author=author,
        url=address(data),
        metrics=counts(thing),
        reply_to=str(data.get("parent_id") or ""),
        root_id=str(data.get("link_id") or data["name"]),
        depth=len(above),
        parents=tuple(Parent(str(one["data"].get("author") or DELETED), text_of(one)) for one in above),
        community=str(data.get("subreddit") or ""),
        author_is_bot=is_bot(author),
        summoned=bool(me) and (_same(parent, me) or _mentions(text, me)),
        is_repost="crosspost_parent" in data,
        closed=closed(data) or (closed(above[0]["data"]) if above else ""),
    )


def _same(name: object, me: str) -> bool:
    return str(name).lower() == me.lower()


def _mentions(text: str, me: str) -> bool:
    return re.search(rf"(?<![\w/])/?u/{re.escape(me)}(?![\w-])", text, re.IGNORECASE) is not None
