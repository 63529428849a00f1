"""Guessing which column plays which part, from the names that exports of social platforms usually give them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from training.imports.contract import Columns, ImportRefused, Role

CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
# The earlier name wins where a file has several.
USUAL_NAMES: dict[Role, tuple[str, ...]] = {
    "text": (
        "text", "full_text", "tweet", "tweets", "tweet_text", "post", "post_text", "reply_body", "reply_text", "reply",
        "response", "answer", "body", "content", "contents", "message", "status", "selftext", "title", "comment",
        "comment_body", "comment_text", "caption", "headline", "sentence",
    ),
    "score": (
        "score", "reward", "likes", "like_count", "favorites", "favourites", "favorite_count", "favourites_count",
        "upvotes", "ups", "reactions", "points", "stars", "votes", "engagement", "reply_score",
    ),
    "author": ("author", "user", "username", "user_name", "screen_name", "handle", "account", "name"),
    "community": ("subreddit", "community", "channel", "group", "forum"),
    "topic": ("topic", "category", "tag", "hashtag", "flair", "link_flair_text"),
    "created_at": (
        "created_at", "created", "created_utc", "date", "datetime", "timestamp", "time", "published_at", "published",
        "posted_at",
    ),
    "reply_to_text": (
        "reply_to_text", "in_reply_to_text", "parent_text", "parent_body", "parent_comment", "parent", "context",
        "comment", "comment_body", "comment_text", "question", "prompt",
    ),
    "is_repost": ("is_retweet", "is_repost", "is_reblog", "is_boost", "repost_flag"),
    "in_reply_to": (
        "in_reply_to_status_id", "in_reply_to_status_id_str", "in_reply_to_id", "in_reply_to", "replied_to_tweet_id",
        "is_reply",
    ),
}  # fmt: skip


def normal(name: str) -> str:
    """'Full Text', 'full-text' and 'fullText' → 'full_text'."""
    spaced = CAMEL.sub(" ", name)
    return "_".join(spaced.replace("-", " ").replace("_", " ").lower().split())


def guess_columns(found: Sequence[str]) -> Columns:
    """The best guess for these column names; `text` stays None where no name is a usual one for text.

    Where no top-level name fits, a nested object that has a text ("tweet.full_text") lends its fields.
    """
    top = _guess_under(found, "")
    if top.text is not None:
        return top
    for prefix in dict.fromkeys(name.rpartition(".")[0] for name in found if "." in name):
        nested = _guess_under(found, prefix + ".")
        if nested.text is not None:
            return nested
    return top


def _guess_under(found: Sequence[str], prefix: str) -> Columns:
    by_name: dict[str, str] = {}
    for name in found:
        if name.startswith(prefix):
            by_name.setdefault(normal(name[len(prefix) :]), name)
    guesses: dict[str, str | None] = {}
    for role, usual_names in USUAL_NAMES.items():
        free = (by_name[usual] for usual in usual_names if usual in by_name)
        guesses[role] = next((name for name in free if name != guesses.get("text")), None)
    return Columns(**guesses)


def known_names(found: Sequence[str]) -> int:
    """How many roles these names fill: what tells a header from a row."""
    return len(guess_columns(found).chosen())


def check_choice(columns: Columns, found: Sequence[str]) -> None:
    """Raise ImportRefused where a chosen column is not in the file, or is there twice."""
    for role, name in columns.chosen().items():
        if found.count(name) != 1:
            what = "has no column" if name not in found else "has more than one column"
            raise ImportRefused(
                f"The file {what} called “{name}” (chosen for {role}). {_found_words(found)}",
                columns_found=tuple(found),
            )


def refuse_without_text(found: Sequence[str], advice: str = "") -> ImportRefused:
    """The error for a file in which no column looks like the text; `advice` adds what the format has to say."""
    return ImportRefused(
        f"No column looks like the text of the posts. {_found_words(found)} Choose the text column.{advice}",
        columns_found=tuple(found),
    )


def _found_words(found: Sequence[str]) -> str:
    shown = ", ".join(f"“{name[:60]}”" for name in found[:20])
    more = f" and {len(found) - 20} more" if len(found) > 20 else ""
    return f"Columns found: {shown or 'none'}{more}."
