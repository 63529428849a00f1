"""The control arm: a publisher as it is usually written. An early-acknowledged task, "retry on error", and no intent.

A campaign in which this one neither loses nor doubles anything proves nothing about the other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from celery import shared_task
from django.conf import settings

from accounts.tenancy import tenant
from bots.models import Post
from bots.services.posts import outgoing
from faces.contract import FaceError
from faces.keys import new_key

OUTCOMES = "naive.log"
RETRIES = 3


@shared_task(bind=True, max_retries=RETRIES)
def publish_naively(self: Any, organization_id: str, post_id: str) -> None:
    with tenant(organization_id):
        post = Post.objects.select_related("connection").get(pk=post_id)
        try:
            published = post.connection.face.publish(outgoing(post), new_key())
        except FaceError as error:
            if not error.permanent and self.request.retries < RETRIES:
                raise self.retry(countdown=1) from error
            _book(post_id, "")
        else:
            _book(post_id, published.remote_id)


def _book(post_id: str, remote_id: str) -> None:
    with Path(settings.VAR, OUTCOMES).open("a") as file:
        file.write(json.dumps([post_id, remote_id]) + "\n")


def outcomes(folder: Path) -> dict[str, str]:
    """Post → the id that was booked, empty where it was booked as failed."""
    file = folder / OUTCOMES
    return dict(json.loads(line) for line in file.read_text().splitlines()) if file.exists() else {}
