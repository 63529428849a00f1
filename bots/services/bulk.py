"""The same thing done to many posts, each by itself and by the service for a single one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError

from bots.models import Post
from bots.services import delivery, posts, scheduling
from bots.states import IllegalTransition
from faces.contract import FaceError

MOST = 200
"""Posts in one go; of those that are taken down, each of which asks its platform: `MOST_TAKEN_DOWN`."""
MOST_TAKEN_DOWN = 20

Verb = Callable[[Mapping[str, Any]], Post]
VERBS: dict[str, Verb] = {
    "approve": lambda asked: posts.approve_post(asked["id"], seen_sha256=asked.get("payload_sha256") or None),
    "decline": lambda asked: posts.decline_post(asked["id"], reason=asked.get("reason", "")),
    "cancel": lambda asked: posts.cancel_post(asked["id"]),
    "edit": lambda asked: posts.edit_post(asked["id"], text=asked["text"]),
    "unschedule": lambda asked: scheduling.unschedule_post(asked["id"]),
    "take_down": lambda asked: delivery.take_down_post(asked["id"]),
}
PERMISSIONS = {
    "approve": "post_approve",
    "decline": "post_approve",
    "cancel": "post_write",
    "edit": "post_write",
    "unschedule": "schedule_edit",
    "take_down": "post_approve",
}


@dataclass(frozen=True)
class Outcome:
    """What became of one post. `status`: what the request for it alone would have answered with; `detail`: why it was
    left as it is, "" when it was not.
    """

    id: UUID
    status: int
    state: str | None
    detail: str = ""


def act(verb: str, asked: Iterable[Mapping[str, Any]]) -> list[Outcome]:
    """Do it to every post that is asked for (`id`, and what the verb takes), in that order; one that fails keeps none
    of the others.
    """
    return [_one(VERBS[verb], each) for each in asked]


def _one(verb: Verb, asked: Mapping[str, Any]) -> Outcome:
    pk = asked["id"]
    try:
        post = verb(asked)
    except Post.DoesNotExist:
        return Outcome(pk, 404, None, "There is no such post.")
    except IllegalTransition as error:
        return Outcome(pk, 409, error.old, str(error))
    except FaceError as error:
        return Outcome(pk, 409, None, f"The platform refused: {error}")
    except ValidationError as error:
        return Outcome(pk, 400, None, " ".join(error.messages))
    return Outcome(pk, 200, post.state)
