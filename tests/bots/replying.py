"""A platform whose inbox a test fills, a bot on it, and what the workers do, for tests of replies."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.clock import SimulatedClock, simulated
from accounts.tenancy import tenant
from bots.models import Bot, Incoming, Post, ReplyRules
from bots.reply_choice import Candidate
from bots.services import delivery, replies, scheduling, watching
from faces.contract import RemotePost
from faces.registry import FACES
from tests.factories import World, make_bot, make_connection
from tests.fake_platform import FakePlatform, StubKind, fake_face

START = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
READS: Any = frozenset({"history", "mentions", "comments", "communities"})
GOOD = [Candidate("The moon is full tonight.", 0.9, 2.0, shared_run=3), Candidate("Who knows?", 0.8, 1.0, shared_run=3)]


@pytest.fixture
def now() -> Iterator[SimulatedClock]:
    with simulated(START) as running:
        yield running


@pytest.fixture
def can(monkeypatch: pytest.MonkeyPatch, platform: FakePlatform) -> Any:
    """A platform that answers with what a test wrote; to be called with capabilities for others than the usual."""

    def install(**capabilities: Any) -> None:
        told = {"can_reply": True, "reads": READS, "idempotency": "key"} | capabilities
        monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform, **told)))

    install()
    return install


@pytest.fixture
def bot(world: World, can: Any, now: SimulatedClock) -> Iterator[Bot]:
    with tenant(world.acme.pk):
        yield make_bot(make_connection("fake", account="@kilroy"), approval="auto")


@pytest.fixture
def rules(bot: Bot) -> ReplyRules:
    return replies.change_rules(bot, active=True)


def mention(number: int = 1, **fields: Any) -> RemotePost:
    told: dict[str, Any] = {"text": f"@kilroy what about the moon, part {number}?", "author": f"ann{number}"}
    told |= {"summoned": True, "remote_id": f"in-{number}", "at": START - timedelta(minutes=30 - number)}
    return RemotePost(**told | fields)


def look(rules: ReplyRules) -> list[tuple[str, str, str]]:
    """One look, whenever the next would be; (id, state, reason) of every row, oldest first."""
    ReplyRules.objects.update(next_look_at=None)
    watching.look_for_posts(rules.pk)
    return list(Incoming.objects.order_by("at").values_list("remote_id", "state", "reason"))


def answer(incoming: Incoming, candidates: Sequence[Candidate] = GOOD) -> Post | None:
    """What the training worker does, once it has candidates."""
    claimed = replies.claim(incoming.pk)
    if claimed is None or replies.look_again(claimed) is None:
        return None
    return replies.propose(claimed, candidates, version_id=uuid.uuid4(), provenance={"version": 1}, note="A note.")


def chosen(bot: Bot, number: int = 1, **fields: Any) -> Incoming:
    told = {"root_id": f"in-{number}", "author": f"ann{number}", "state": "chosen", "text": "And you?"}
    told |= {"at": START, "seen_at": START, "summoned": True}
    return Incoming.objects.create(bot=bot, remote_id=f"in-{number}", **told | fields)


def deliver(post: Post) -> str | None:
    scheduling.queue_due()
    delivery.deliver_post(post.pk)
    return Post.objects.values_list("state", flat=True).get(pk=post.pk)
