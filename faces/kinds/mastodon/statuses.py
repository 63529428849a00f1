"""An instance's statuses as posts, with the threads that they stand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from faces.contract import FaceError, Parent, RemotePost
from faces.http import Api
from faces.kinds.mastodon.instance import plain_text

MOST_CONTEXTS = 30
"""Threads read per list, the newest first: each is a call, and an instance allows 300 in five minutes."""
PRIVATE = {"private": "Only the author's followers see it.", "direct": "It was sent in private."}


def is_missing(error: FaceError) -> bool:
    return error.status in (404, 410)


def counts(status: Mapping[str, Any]) -> dict[str, int]:
    """Reactions that the status names."""
    told = {"likes": "favourites_count", "shares": "reblogs_count", "comments": "replies_count"}
    return {name: int(status[theirs]) for name, theirs in told.items() if status.get(theirs) is not None}


def remote_post(status: Mapping[str, Any], own_id: str, community: str = "") -> RemotePost:
    """A status as a post; of its thread, only what it says itself. `own_id`: the account that reads."""
    answers = str(status.get("in_reply_to_id") or "")
    mentioned = {str(mention.get("id")) for mention in status.get("mentions") or ()}
    return RemotePost(
        remote_id=str(status["id"]),
        text=_text(status),
        at=datetime.fromisoformat(status["created_at"]),
        author=status["account"]["acct"],
        url=status.get("url") or "",
        metrics=counts(status),
        reply_to=answers,
        root_id=answers or str(status["id"]),
        depth=1 if answers else 0,
        community=community,
        language=status.get("language") or "",
        author_is_bot=bool(status["account"].get("bot")),
        summoned=own_id in mentioned or str(status.get("in_reply_to_account_id") or "") == own_id,
        is_repost=status.get("reblog") is not None,
        closed=PRIVATE.get(status.get("visibility", ""), ""),
    )


def in_thread(api: Api, post: RemotePost) -> RemotePost:
    """The post with the posts above it. A status that has gone meanwhile stays as it was."""
    if not post.reply_to:
        return post
    try:
        above = api.get(f"/api/v1/statuses/{post.remote_id}/context").data.get("ancestors") or []
    except FaceError as error:
        if is_missing(error):
            return post
        raise
    if not above:  # what it answers was deleted, or never came to this instance
        return post
    parents = tuple(Parent(status["account"]["acct"], _text(status)) for status in above)
    return replace(post, root_id=str(above[0]["id"]), depth=len(parents), parents=parents)


def in_threads(api: Api, posts: Sequence[RemotePost]) -> Iterable[RemotePost]:
    """Posts, oldest first, with their threads as far as the calls for them go."""
    answers = [post.remote_id for post in posts if post.reply_to]
    shown = set(answers[-MOST_CONTEXTS:])
    return [in_thread(api, post) if post.remote_id in shown else post for post in posts]


def _text(status: Mapping[str, Any]) -> str:
    """What was written, under its content warning where it has one."""
    body = plain_text(status.get("content") or "")
    warning = status.get("spoiler_text") or ""
    return f"{warning}\n\n{body}" if warning else body
