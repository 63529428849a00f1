"""What webhooks are told of posts (docs/webhooks.md)."""

from __future__ import annotations

from accounts.webhooks import emit
from bots.models import Post
from bots.states import PostState

MOVED = {
    PostState.APPROVED: "post.approved",
    PostState.DECLINED: "post.declined",
    PostState.PUBLISHED: "post.published",
    PostState.REJECTED: "post.failed",
    PostState.NEEDS_HUMAN: "post.needs_human",
    PostState.DELETED: "post.deleted",
}


def proposed(post: Post) -> None:
    """Tell of a new post, and of its approval where the bot's policy gave it at once."""
    emit("post.proposed", _told(post, post.state))
    moved(post, post.state)


def moved(post: Post, new: str, remote_url: str = "") -> None:
    """Tell that a post is in another state now, in the transaction that put it there. Most states are nobody's news."""
    event = MOVED.get(PostState(new))
    if event:
        emit(event, _told(post, new) | ({"remote_url": remote_url} if event == "post.published" else {}))


def _told(post: Post, state: str) -> dict[str, str]:
    return {"post": str(post.pk), "bot": str(post.bot_id), "connection": str(post.connection_id), "state": str(state)}
