"""What webhooks (docs/webhooks.md) and people (docs/notifications.md) are told of posts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.urls import reverse

from accounts.notifications import tell
from accounts.webhooks import emit
from bots.models import Bot, Post
from bots.states import PostState

MOVED = {
    PostState.APPROVED: "post.approved",
    PostState.DECLINED: "post.declined",
    PostState.REJECTED: "post.failed",
    PostState.NEEDS_HUMAN: "post.needs_human",
    PostState.DELETED: "post.deleted",
}
NEEDS_HUMAN = ("post.needs_human", "posts")
"""Kind and subject of what people are told of all posts that need one: one notification, however many there are."""


def proposed(post: Post) -> None:
    """Tell of a new post, and of its approval where the bot's policy gave it at once."""
    emit("post.proposed", _told(post, post.state))
    moved(post, post.state)


def moved(post: Post, new: str) -> None:
    """Tell that a post is in another state now, in the transaction that put it there. Most states are nobody's news."""
    if new == PostState.PUBLISHED:
        published([(post, post.remote_url)])
    elif event := MOVED.get(PostState(new)):
        emit(event, _told(post, new))
    if new == PostState.NEEDS_HUMAN:
        _tell_needs_human(post)


def published(posts: Iterable[tuple[Post, str]]) -> None:
    """Tell that posts are on their platform, each at its address, in the transaction that booked it."""
    emit("post.published", *(_told(post, PostState.PUBLISHED) | {"remote_url": url} for post, url in posts))


def _tell_needs_human(post: Post) -> None:
    kind, subject = NEEDS_HUMAN
    count = Post.objects.filter(state=PostState.NEEDS_HUMAN).count()
    tell(
        kind,
        f"{count} post{'s' if count != 1 else ''} must be looked at",
        reverse("bots:needs-human", args=[post.organization.slug]),
        "It is not known whether they were published: the platform did not answer, and they were not found there. They "
        "are not sent again until somebody decides.",
        subject,
    )


def waits_for_review(bot: Bot, made: Sequence[Post]) -> None:
    """Tell people of new posts that wait for a person's word, unless others waited before them."""
    waiting = [post for post in made if post.state == PostState.PENDING_REVIEW]
    if not waiting:
        return
    reply = waiting[0].kind == Post.Kind.REPLY
    before = Post.objects.filter(bot=bot, state=PostState.PENDING_REVIEW, kind=waiting[0].kind)
    if before.exclude(pk__in=[post.pk for post in waiting]).exists():
        return
    tell(
        "reply.waiting" if reply else "review.waiting",
        f"{'Answers' if reply else 'Posts'} of {bot} wait for review",
        reverse("bots:review", args=[bot.organization.slug, bot.pk]),
        "They go out only after somebody has read and approved them.",
        f"bot {bot.pk}",
    )


def _told(post: Post, state: str) -> dict[str, str]:
    return {"post": str(post.pk), "bot": str(post.bot_id), "connection": str(post.connection_id), "state": str(state)}
