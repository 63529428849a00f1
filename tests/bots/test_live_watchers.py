"""What waits for one client of the live protocol, what makes a replay whole, and what is documented."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.conf import settings

from bots import live, live_hub, live_streams, live_watchers
from bots.live_rights import Identity
from bots.live_streams import Position, State, complete
from bots.live_watchers import Subscription, Watcher


def watcher() -> tuple[Watcher, Subscription]:
    async def send(text: str) -> None: ...

    subscription = Subscription("bot:1", "bot:1", answered=True)
    made = Watcher(Identity(None, 1), frozenset(), send, lambda refusal: None)  # type: ignore[arg-type]
    made.subscriptions["bot:1"], made.state = subscription, State("e", 0, Position(5, 5))
    return made, subscription


def test_what_waits_for_a_client_is_bounded_in_number_and_size() -> None:
    for text in ("{}", json.dumps("x" * 100_000)):
        made, subscription = watcher()
        most = largest = 0
        for _ in range(10_000):
            made.offer(subscription, text)
            most, largest = max(most, made.waiting), max(largest, made.size)
        assert (most <= live_watchers.WAITING, largest <= live_watchers.WAITING_BYTES) == (True, True)
        assert (made.waiting, made.size, subscription.behind) == (0, 0, True)
        assert json.loads(made._next_frame()) == {"type": "catch_up", "topic": "bot:1", "sequence": "e.0-0"}
        assert made._next_frame() == ""


def test_a_pong_makes_way_along_with_the_events_that_it_counts() -> None:
    """Else a client would resume behind what it never got."""
    made, subscription = watcher()
    made.reply({"type": "unsubscribed"})
    for _ in range(live_watchers.WAITING - 2):
        made.offer(subscription, "{}")
    made.reply({"type": "pong", "sequences": made.sequences()}, may_be_lost=True)
    made.offer(subscription, "{}")
    frames = [json.loads(frame)["type"] for frame in iter(made._next_frame, "")]
    assert frames == ["unsubscribed", "catch_up"]


def test_frames_are_bounded() -> None:
    made, subscription = watcher()
    for _ in range(9):
        made.offer(subscription, json.dumps("x" * 100_000))
    frames = list(iter(made._next_frame, ""))
    assert [len(json.loads(frame)["events"]) for frame in frames] == [2, 2, 2, 2, 1]


START = 1_800_000_000_000


def entry(ms: int, previous: int | None) -> live_streams.Entry:
    before = None if previous is None else Position(START + previous, 0)
    return live_streams.Entry(Position(START + ms, 0), before, "post", "{}")


@pytest.mark.parametrize(
    ("after", "entries", "exists", "whole"),
    [
        (90, [entry(95, 90)], True, True),
        (92, [entry(95, 90)], True, True),  # what it had came before, on another topic
        (89, [entry(95, 90)], True, False),  # 90 was trimmed
        (90, [], True, True),  # nothing came after
        (101, [], True, False),  # of a future that was lost
        (100, [], False, True),  # nothing was written anywhere since
        (90, [], False, True),  # what came after would still be there
        (90 - live_streams.KEPT_MS * 2, [], False, False),
        (90, [entry(95, None)], True, True),
        (90 - live_streams.KEPT_MS * 2, [entry(95, None)], True, False),
    ],
)
def test_a_replay_is_whole_or_is_none(after: int, entries: list[Any], exists: bool, whole: bool) -> None:
    state = State("e", now=START + 100, last=Position(START + 100, 0))
    assert complete(state, Position(START + after, 0), entries, exists=exists) is whole


def test_rights_are_asked_again_within_five_seconds() -> None:
    assert live_hub.RECHECK_SECONDS + live_hub.TICK <= 4


def test_every_message_and_code_is_documented() -> None:
    """Types that the code sends or hears, error codes and codes of closing: each has its line in docs/live.md."""
    root = settings.BASE_DIR
    names = ("consumers.py", "live_hub.py", "live_watchers.py", "live_rights.py")
    source = "\n".join((root / "bots" / name).read_text() for name in names)
    document = (root / "docs" / "live.md").read_text()
    sent = set(re.findall(r'"type": ?"(\w+)"', source))
    understood = {"authenticate", "subscribe", "unsubscribe", "ping"}
    codes = set(re.findall(r'(?:Wrong|Refusal)\(\s*"(\w+)"', source))
    closing = set(re.findall(r"close=(\d+)", source))
    assert {"hello", "authenticated", "subscribed", "unsubscribed", "closed"} <= sent
    assert {"events", "catch_up", "error", "pong"} <= sent
    assert (len(sent), len(codes) > 10, len(closing)) == (9, True, 6)
    wanted = sent | understood | codes | closing | set(live.PERMISSIONS)
    assert {word for word in wanted if f"`{word}`" not in document} == set()
