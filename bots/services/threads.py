"""Threads: posts that follow one another, each sent as a reply to the one before once that is published.

The first part takes a slot of the schedule; the others get the moment at which they may be sent. A part's approval is
bound to its text and to the row that it follows, never to the platform's id, which is known only when it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import clock
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services.posts import Draft, propose_posts
from bots.states import PostState
from faces.contract import OutgoingPost

BATCH = 500
ENDED = frozenset(
    {
        PostState.BLOCKED,
        PostState.DECLINED,
        PostState.CANCELLED,
        PostState.REJECTED,
        PostState.NEEDS_HUMAN,
        PostState.DELETED,
    }
)
"""States of a part after which the next one waits for a person."""


@transaction.atomic
def propose_thread(bot: Bot, drafts: Sequence[Draft]) -> list[Post]:
    """Propose the parts of a thread, first to last; each goes through the rules and the approval by itself. Raises
    ValidationError when the platform has no threads, or for a part that could never be a post.
    """
    if len(drafts) > 1 and not bot.connection.capabilities.can_thread:
        raise ValidationError({"thread": f"{bot.connection} takes no threads: send one post."})
    parts: list[Post] = []
    for number, draft in enumerate(drafts, start=1):
        try:
            parts += propose_posts(bot, [replace(draft, continues=parts[-1] if parts else None)])
        except ValidationError as error:
            if number == 1:
                raise
            raise ValidationError({"thread": [f"Part {number}: {told}" for told in error.messages]}) from None
    return parts


def addressed(post: Post, content: OutgoingPost) -> OutgoingPost:
    """What is sent for this row: a part of a thread answers the one before."""
    return replace(content, reply_to=post.continues.remote_id or "") if post.continues else content


def waiting_for(post: Post) -> str:
    """Why a part cannot be sent yet, in words; empty when it can, or is no part."""
    before = post.continues
    if before is None or before.state == PostState.PUBLISHED:
        return ""
    label = PostState(before.state).label.lower()
    if before.state in ENDED:
        return f"It follows a part of its thread that is “{label}”: settle that one, or cancel this one."
    return f"It follows a part of its thread that is “{label}”, and is sent once that is published."


def release_parts() -> int:
    """Give approved parts whose turn has come this very moment as their slot. Returns how many."""
    # everyone: beat's tick finds the parts of all organizations, then enters each one's tenant.
    ready = Post.everyone.filter(
        state=PostState.APPROVED,
        continues__state=PostState.PUBLISHED,
        bot__paused_at=None,
        organization__paused_at=None,
    )
    released = 0
    for organization_id, post_id in ready.order_by("approved_at").values_list("organization_id", "pk")[:BATCH]:
        with tenant(organization_id):
            released += _release(post_id)
    return released


@transaction.atomic
def _release(post_id: object) -> bool:
    posts = Post.objects.select_for_update(skip_locked=True, of=("self",))
    post = posts.filter(pk=post_id, state=PostState.APPROVED).first()
    if post is None:
        return False
    post.move(PostState.SCHEDULED)
    post.slot_utc, post.schedule = free_moment(post), None
    post.save(update_fields=["state", "slot_utc", "schedule", "updated_at"])
    return True


def free_moment(post: Post) -> datetime:
    """The present moment, or the last before it that is no other post's slot."""
    moment = clock.now()
    while Post.objects.filter(bot=post.bot_id, slot_utc=moment).exclude(pk=post.pk).exists():
        moment -= timedelta(microseconds=1)
    return moment
