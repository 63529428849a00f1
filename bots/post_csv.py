"""Posts as CSV."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from accounts.csv_out import csv_blocks
from accounts.streamed import Streamed, download, rows_of
from bots.models import Post

COLUMNS = (
    "id", "bot", "state", "arm", "kind", "text", "created_at", "published_at", "remote_url", "reward", "model_version",
)  # fmt: skip


def posts_csv(found: QuerySet[Post]) -> Streamed:
    """These posts as a file that is made while it is sent. Cells that a spreadsheet would compute begin with an
    apostrophe.
    """
    rows = map(_cells, rows_of(found.select_related("reward")))
    return download(csv_blocks(COLUMNS, rows), "posts.csv", "text/csv; charset=utf-8")


def _cells(post: Post) -> list[Any]:
    reward = post.reward.value if hasattr(post, "reward") else None
    known = (post.pk, post.bot_id, post.state, post.arm, post.kind, post.text, post.created_at, post.published_at)
    return [*known, post.remote_url, reward, post.model_version_id]
