"""What Reddit, and one subreddit of it, takes: lengths, flair, who may post."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from praw.const import API_PATH

from faces.contract import FaceError, OutgoingPost
from faces.kinds.reddit.client import Client
from faces.kinds.reddit.forms import NAME

TITLE, BODY, COMMENT = 300, 40_000, 10_000

_KEPT = {
    "title_min": "title_text_min_length",
    "title_max": "title_text_max_length",
    "body_min": "body_text_min_length",
    "body_max": "body_text_max_length",
    "body_policy": "body_restriction_policy",
}
NO_RULES: dict[str, Any] = dict.fromkeys(_KEPT)
"""Settings of a connection whose posts go to the account's own profile."""


@dataclass
class Found:
    """What a subreddit lacks or gives for posting there, in words for the owner, and its rules as settings."""

    missing: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=lambda: dict(NO_RULES))


def title_and_body(text: str) -> tuple[str, str]:
    """The first line, and what follows it."""
    title, _, body = text.partition("\n")
    return title.strip(), body.strip()


def excess(text: str, settings: Mapping[str, Any]) -> int:
    """By how much a new post's title or body is too long, also as its beginning; 0 or less when both fit."""
    title, body = title_and_body(text)
    most = 0 if settings.get("body_policy") == "notAllowed" else settings.get("body_max") or BODY
    return max(len(title) - (settings.get("title_max") or TITLE), len(body) - most)


def objection(post: OutgoingPost, settings: Mapping[str, Any]) -> str:
    """Why Reddit, or the subreddit as it was last read, would not take this; empty when it would."""
    if post.images:
        return "Reddit takes no images from Kilroy."
    if post.reply_to:
        return _lengths("comment", len(post.text.strip()), 1, COMMENT)
    title, body = title_and_body(post.text)
    if not title:
        return "The title is empty: the text's first line is the title."
    if body and settings.get("body_policy") == "notAllowed":
        return "This subreddit takes titles only: leave one line."
    least = settings.get("body_min") or (1 if settings.get("body_policy") == "required" else 0)
    return _lengths(
        "title (the first line)", len(title), settings.get("title_min") or 1, settings.get("title_max") or TITLE
    ) or (_lengths("body (after the first line)", len(body), least, settings.get("body_max") or BODY))


def _lengths(what: str, length: int, least: int, most: int) -> str:
    if length > most:
        return f"The {what} has {length} characters; at most {most} are allowed there."
    return f"The {what} has {length} characters; at least {least} are wanted there." if length < least else ""


def account_name(account: str) -> str:
    """`name` of what a person typed for another account: name, u/name, /u/name."""
    return _name(account, "u/")


def community_name(community: str) -> str:
    """`name` of what a person typed for a subreddit: name, r/name, /r/name."""
    return _name(community, "r/")


def _name(typed: str, prefix: str) -> str:
    name = typed.strip().removeprefix("/").removeprefix(prefix).rstrip("/")
    if name and not NAME.fullmatch(name):
        raise FaceError(f"“{typed[:60]}” is no name at Reddit: write it as in {prefix}name.", permanent=True)
    return name


def check_subreddit(client: Client, name: str, settings: Mapping[str, Any]) -> Found:
    """Whether the account may post there, what flair it demands, and its lengths. Raises FaceError."""
    found = Found()
    try:
        about = client.record(API_PATH["subreddit_about"].format(subreddit=name))
    except FaceError as error:
        # Redirected to a search, not found, or closed to this account.
        if error.status not in (302, 403, 404):
            raise
        found.missing.append(f"r/{name} cannot be posted to: {error}")
        return found
    if about.get("kind") != "t5" or not isinstance(about.get("data"), Mapping):
        found.missing.append(f"There is no r/{name}: correct its name.")
        return found
    found.missing += _who_may_post(name, about["data"])
    asked = client.record(API_PATH["post_requirements"].format(subreddit=name))
    if asked.get("is_flair_required") and not settings.get("flair_id"):
        found.missing.append(f"r/{name} demands flair: enter its ID.")
    found.settings = {ours: asked.get(theirs) for ours, theirs in _KEPT.items()}
    if not found.missing:
        found.present.append(f"May post to r/{name}.")
    return found


def _who_may_post(name: str, data: Mapping[str, Any]) -> list[str]:
    if data.get("user_is_banned"):
        return [f"The account is banned from r/{name}."]
    trusted = data.get("user_is_contributor") or data.get("user_is_moderator")
    kind = data.get("subreddit_type")
    open_to_all = kind == "restricted" and data.get("restrict_posting") is False  # restricted may mean comments alone
    if kind == "archived" or (kind in ("restricted", "private", "employees_only") and not trusted and not open_to_all):
        return [f"r/{name} is {kind}: only accounts that its moderators have approved may post there."]
    if data.get("submission_type") == "link":
        return [f"r/{name} takes links only, no texts."]
    return []
