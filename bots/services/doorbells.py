"""Ringing for publishers: one doorbell for each post, but one for several posts of a local platform."""

from __future__ import annotations

from collections.abc import Sequence

from accounts.doorbell import ring
from bots.models import Post

DELIVER = "bots.tasks.deliver_posts"
TOGETHER = 20
"""Posts of local platforms that one publisher takes at a time: together they take less than a second."""


def ring_for(posts: Sequence[Post]) -> None:
    """Ring for publishers of queued posts of one organization, once this is committed."""
    local = [post for post in posts if is_local(post)]
    shares = [local[at : at + TOGETHER] for at in range(0, len(local), TOGETHER)]
    shares += [[post] for post in posts if not is_local(post)]
    for share in shares:
        ring(DELIVER, share[0].organization_id, *(post.pk for post in share))


def is_local(post: Post) -> bool:
    """Whether the post's platform is this installation itself."""
    try:
        return post.connection.capabilities.local
    except Exception:  # a face that is not installed any more: whoever delivers its post says so
        return False
