"""X's posts as the rest of Kilroy reads them: links written out, threads put together.

X is renaming fields (`referenced_tweets` → `referenced_posts`, `retweet_count` → `repost_count`, …): both are read.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from faces.contract import Parent, RemotePost

Json = Mapping[str, Any]

FIRST_MILLISECOND = 1_288_834_974_657
"""When X's ids begin: their upper bits are milliseconds since then (Snowflake)."""

READ: dict[str, Any] = {
    "tweet_fields": [
        "author_id",
        "conversation_id",
        "created_at",
        "entities",
        "in_reply_to_user_id",
        "lang",
        "note_tweet",
        "public_metrics",
        "referenced_tweets",
    ],
    "expansions": ["author_id", "referenced_tweets.id", "referenced_tweets.id.author_id"],
    "user_fields": ["username"],
}
"""What is asked for with every post, as tweepy names it."""

_COUNTS = {
    "likes": ("like_count",),
    "shares": ("retweet_count", "repost_count"),
    "comments": ("reply_count",),
    "quotes": ("quote_count",),
    "bookmarks": ("bookmark_count",),
    "impressions": ("impression_count",),
}
METRICS = tuple(_COUNTS)
_LEADING_MENTIONS = re.compile(r"^(?:@\w{1,20}\s+)+")
_LINK = re.compile(r"https?://(\S+)", re.IGNORECASE)


def counts(post: Json) -> dict[str, int]:
    """Reactions; one that X did not give is absent."""
    told = post.get("public_metrics") or {}
    found = {name: next((told[theirs] for theirs in names if theirs in told), None) for name, names in _COUNTS.items()}
    return {name: int(count) for name, count in found.items() if count is not None}


def posted_at(remote_id: str) -> datetime:
    """When X made this id."""
    return datetime.fromtimestamp(((int(remote_id) >> 22) + FIRST_MILLISECOND) / 1000, UTC)


def plain_text(post: Json) -> str:
    """The text as it was written: X shortens its links, adds one for every image, and escapes &, < and >."""
    whole = post.get("note_tweet") or post.get("note_post") or post
    text = str(whole.get("text", ""))
    for link in (whole.get("entities") or {}).get("urls") or ():
        if link.get("url"):
            is_image = bool(link.get("media_key"))
            text = text.replace(link["url"], "" if is_image else link.get("expanded_url") or link["url"])
    return html.unescape(text).strip()


def comparable(text: str) -> str:
    """A text without what X may change: composition, white space, and how a link is completed."""
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()
    return _LINK.sub(lambda link: link[1].rstrip("/"), text)


def comparable_reply(text: str) -> str:
    """As `comparable`, without the mentions that X puts before a reply."""
    return _LEADING_MENTIONS.sub("", comparable(text))


def is_missing(problem: Json) -> bool:
    """Whether X says that there is no such thing (any more), rather than that it will not show it now."""
    return str(problem.get("type", "")).endswith("/resource-not-found")


@dataclass
class Known:
    """Posts and names that came along with answers, by id; `own_id` is the account's."""

    own_id: str
    posts: dict[str, Json] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def learn(self, answer: Json) -> None:
        """Keep what an answer includes."""
        included = answer.get("includes") or {}
        for post in [*(included.get("tweets") or ()), *(included.get("posts") or ())]:
            self.posts[str(post["id"])] = post
        for user in included.get("users") or ():
            self.names[str(user["id"])] = user.get("username", "")

    def above(self, post: Json) -> list[Json]:
        """The posts above, the nearest first, as far as they are known."""
        found: list[Json] = []
        while (parent := self.posts.get(refers(post, "replied_to"))) is not None and parent not in found:
            found.append(parent)
            post = parent
        return found

    def remote(self, post: Json) -> RemotePost:
        """A post as the contract has it."""
        remote_id, author = str(post["id"]), self.author(post)
        above = self.above(post)
        unknown = bool(refers(above[-1] if above else post, "replied_to"))
        return RemotePost(
            remote_id=remote_id,
            text=plain_text(post),
            at=datetime.fromisoformat(post["created_at"]) if post.get("created_at") else posted_at(remote_id),
            author=author,
            url=f"https://x.com/{author or 'i'}/status/{remote_id}",
            metrics=counts(post),
            reply_to=refers(post, "replied_to"),
            root_id=str(post.get("conversation_id") or remote_id),
            depth=len(above) + unknown,
            parents=tuple(Parent(self.author(parent), plain_text(parent)) for parent in reversed(above)),
            language="" if post.get("lang") in (None, "und", "zxx") else str(post["lang"]),
            summoned=self._summons(post),
            is_repost=bool(refers(post, "retweeted")),
        )

    def author(self, post: Json) -> str:
        return self.names.get(str(post.get("author_id", "")), "")

    def _summons(self, post: Json) -> bool:
        """X's rule for answers by program: the author mentions the account, or quotes a post of it."""
        mentions = (post.get("entities") or {}).get("mentions") or ()
        quoted = self.posts.get(refers(post, "quoted"), {})
        return any(str(mention.get("id")) == self.own_id for mention in mentions) or (
            self.own_id in (str(post.get("in_reply_to_user_id", "")), str(quoted.get("author_id", "")))
        )


def refers(post: Json, how: str) -> str:
    """The id of the post that this one is a reply to, quotes or repeats; empty when there is none."""
    references = post.get("referenced_tweets") or post.get("referenced_posts") or ()
    return next((str(other["id"]) for other in references if other.get("type") == how), "")
