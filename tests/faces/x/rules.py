"""X's published rules as the stand-in applies them: what may be asked, how it refuses, how it counts and shortens."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import regex

from tests.faces.loopback import Reply

EPOCH = 1_288_834_974_657
LIMIT, WINDOW = 100, 15 * 60
PROBLEMS = "https://api.x.com/2/problems/"
COUNTS = ("retweet_count", "reply_count", "like_count", "quote_count", "bookmark_count", "impression_count")
TWEET_FIELDS = {
    "author_id",
    "conversation_id",
    "created_at",
    "entities",
    "id",
    "in_reply_to_user_id",
    "lang",
    "note_tweet",
    "public_metrics",
    "referenced_tweets",
    "text",
}
EXPANSIONS = {"author_id", "in_reply_to_user_id", "referenced_tweets.id", "referenced_tweets.id.author_id"}
USER_FIELDS = {"id", "name", "username", "public_metrics", "protected", "verified"}
LISTS = {
    "tweet.fields": TWEET_FIELDS,
    "expansions": EXPANSIONS,
    "user.fields": USER_FIELDS,
    "exclude": {"replies", "retweets"},
}
PAGING = {"max_results", "pagination_token", "start_time", "end_time", "since_id", "until_id"}
SCOPES = "tweet.read tweet.write users.read offline.access media.write"


class Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def problem(status: int, title: str, detail: str, kind: str = "about:blank") -> Refused:
    return Refused(Reply(status, {"title": title, "detail": detail, "type": kind, "status": status}))


def invalid(detail: str) -> Refused:
    told = {"errors": [{"message": detail}], "title": "Invalid Request", "type": f"{PROBLEMS}invalid-request"}
    return Refused(Reply(400, told | {"detail": "One or more parameters to your request was invalid."}))


def missing(remote_id: str) -> dict[str, Any]:
    return {
        "value": remote_id,
        "resource_id": remote_id,
        "resource_type": "tweet",
        "parameter": "ids",
        "title": "Not Found Error",
        "detail": f"Could not find tweet with ids: [{remote_id}].",
        "type": f"{PROBLEMS}resource-not-found",
    }


def shorten(text: str, media: list[str], remote_id: str) -> tuple[str, list[dict[str, Any]]]:
    """A text with its links as t.co addresses, and the entities that tell what they stand for."""
    urls: list[dict[str, Any]] = []

    def link(expanded: str, **more: Any) -> str:
        short = f"https://t.co/{hashlib.sha256(f'{remote_id}{len(urls)}'.encode()).hexdigest()[:10]}"
        urls.append({"url": short, "expanded_url": expanded, "start": 0, "end": 0} | more)
        return short

    def found(match: re.Match[str]) -> str:
        return link(match[0] if "://" in match[0] else f"http://{match[0]}")

    text = re.sub(r"https?://\S*\w/?|\b[a-z0-9-]+\.(?:com|org)\b", found, text)
    if media:
        where = link(f"https://x.com/i/status/{remote_id}/photo/1", media_key=f"3_{media[0]}")
        text = f"{text} {where}".strip()
    return text, urls


def weighted(text: str) -> int:
    """The published rules: a link 23, a grapheme that is an emoji 2, light code points 1, all others 2."""
    text = re.sub(r"https?://\S+", "x" * 23, text)
    total = 0
    for cluster in regex.findall(r"\X", text):
        if regex.search(r"\p{Extended_Pictographic}|\p{RI}{2}", cluster) and ord(cluster[0]) > 0x10FF:
            total += 2
        else:
            light = [(0, 0x10FF), (0x2000, 0x200D), (0x2010, 0x201F), (0x2032, 0x2037)]
            total += sum(1 if any(a <= ord(c) <= b for a, b in light) else 2 for c in cluster)
    return total
