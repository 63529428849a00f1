"""The events that webhooks can be told of: name → what happened, and an example of what its message says.

One table: the choices of pages and API, the schema's examples and `accounts.webhooks.emit` all read it. A message holds
ids, states and addresses of the API, never texts or credentials: whoever may read more asks the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

TEST = "webhook.test"
"""What the test button sends, to the one webhook that it belongs to, whatever that one asked for."""
LINKED = ("bot", "connection", "model", "post", "run")
"""Keys of a message whose values are ids of objects that the API has an address for."""

_BOT = "8c2f0a51-6e1c-4d0e-9f0b-0c7a54f1a001"
_POST = {
    "post": "3f0d6a3e-58a7-4d53-8a43-2f9f6a2b7c11",
    "bot": _BOT,
    "connection": "b51d1f8e-0f0e-4a55-9b55-9d0a4f4b2d10",
}
_RUN = {"run": "6b0a4c1e-1d7e-4a0b-8f4b-7f2c6f9e3a22", "bot": _BOT, "kind": "online"}
_MODEL = {"model": "d2c5a7f0-9a3b-4f8e-b7a1-5e6c8d9f0b33", "bot": _BOT, "number": 7, "kind": "online"}


@dataclass(frozen=True)
class Event:
    """What happened, in words, and an example of its message's data."""

    description: str
    example: Mapping[str, Any]


EVENTS: dict[str, Event] = {
    "post.proposed": Event(
        "A post was proposed. Its state says whether it waits for review, is approved, or a rule blocked it.",
        {**_POST, "state": "pending_review"},
    ),
    "post.approved": Event("A person or the bot's policy approved a post.", {**_POST, "state": "approved"}),
    "post.declined": Event("A person declined a post.", {**_POST, "state": "declined"}),
    "post.published": Event(
        "A post is on its platform.",
        {**_POST, "state": "published", "remote_url": "https://social.example/@bot/113"},
    ),
    "post.failed": Event("The platform refused a post.", {**_POST, "state": "rejected"}),
    "post.needs_human": Event(
        "Nobody could find out whether a post was published: a person has to look.", {**_POST, "state": "needs_human"}
    ),
    "post.deleted": Event("A post was taken down from its platform.", {**_POST, "state": "deleted"}),
    "run.started": Event("A run of training was started.", {**_RUN, "state": "queued"}),
    "run.finished": Event(
        "A run of training ended: finished by itself, or stopped by a person.", {**_RUN, "state": "finished"}
    ),
    "run.failed": Event("A run of training cannot go on.", {**_RUN, "state": "failed"}),
    "run.paused": Event("A run of training was paused.", {**_RUN, "state": "paused"}),
    "round.finished": Event("A round of online learning was played.", {**_RUN, "state": "running", "round": 12}),
    "model.created": Event("A bot has a new version of its model.", _MODEL),
    "model.promoted": Event("A bot speaks with another version of its model from now on.", _MODEL),
    "connection.broken": Event(
        "A connection does not work any more: the posts of its bots wait until it is mended.",
        {"connection": _POST["connection"], "kind": "mastodon", "state": "broken"},
    ),
    "organization.paused": Event("Nothing of the organization is published until it is resumed.", {"state": "paused"}),
    "organization.resumed": Event("Publishing goes on.", {"state": "active"}),
}
CHOICES = [(name, name) for name in EVENTS]


def message(event: str, slug: str, data: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """What is sent: {"type", "timestamp", "data"}; the data with the organization's slug and with `urls`, the API's
    addresses of the objects that it names.
    """
    urls = {
        name: settings.PUBLIC_URL + reverse(f"api-{name}-detail", args=[slug, data[name]])
        for name in data
        if name in LINKED
    }
    return {"type": event, "timestamp": at.isoformat(), "data": {"organization": slug, **data, "urls": urls}}
