"""What lies between Kilroy and the platforms: a network that loses, delays, repeats and garbles.

Each fault is drawn from a shuffled deck, so that every kind comes up as often as its share says.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.faces.loopback import Reply

Act = Callable[[], Reply]
"""Lets the platform do what was asked, and returns its true answer."""

PUBLISHING = (
    ["reset_before", "reset_after", "error_before", "error_after", "too_many", "slow"] * 2
    + ["hang_before", "hang_after", "stored_late", "garbled_before", "garbled_after", "empty_after", "page_after"]
    + ["refused"]
)
OTHERWISE = ["reset_before", "error_before", "too_many", "slow", "slow", "page_before"]
OF_ONE_PLATFORM = {"x": ["duplicate_before", "duplicate_after"], "reddit": ["ratelimit_after", "ratelimit_after"]}
PAGE = b"<!doctype html><title>Maintenance</title><p>We will be back soon."
DUPLICATE = {
    "title": "Forbidden",
    "detail": "You are not allowed to create a Tweet with duplicate content.",
    "type": "about:blank",
    "status": 403,
}


class Network:
    """`chance`: how often a request meets a fault, 0 while the network is sound. `patience`: seconds after which a
    client has given up on an answer. `injected`, `of_face`: what Kilroy's requests met so far, by kind and by platform;
    the control arm's are not counted. `sends`: when requests to publish arrived.
    """

    def __init__(self, patience: float, seed: int) -> None:
        self.patience = patience
        self.chance = 0.0
        self.injected: Counter[str] = Counter()
        self.of_face: Counter[str] = Counter()
        self.sends: list[float] = []
        self._random = random.Random(seed)
        self._decks: dict[tuple[str, bool], list[str]] = {}
        self._lock = threading.Lock()

    def pass_on(self, face: str, act: Act, *, publishes: bool, repeats: bool, naive: bool) -> Reply:
        """What the client sees of its request. `repeats`: the platform has seen this key before. `naive`: it is the
        control arm's.
        """
        if publishes:
            self.sends.append(time.monotonic())
        name = self._drawn(face, publishes, repeats)
        if name is None:
            return act()
        if not naive:
            self.injected[name] += 1
            self.of_face[face] += 1
        return self._happen(name, act)

    def _drawn(self, face: str, publishes: bool, repeats: bool) -> str | None:
        with self._lock:
            if self._random.random() >= self.chance * (1.0 if publishes else 0.3):
                return None
            if repeats and self._random.random() < 0.3:
                name = "replay_error"
            else:
                deck = self._decks.setdefault((face, publishes), [])
                if not deck:
                    deck += [*PUBLISHING, *OF_ONE_PLATFORM.get(face, [])] if publishes else OTHERWISE
                    self._random.shuffle(deck)
                name = deck.pop()
            return name

    def _happen(self, name: str, act: Act) -> Reply:
        kind, _, when = name.rpartition("_")
        match name:
            case "slow":
                time.sleep(0.4 * self.patience)
                return act()
            case "too_many":
                return Reply(429, {"message": "Too many requests."}, {"Retry-After": "1"})
            case "refused":
                return Reply(400, {"error": "InvalidRequest", "message": "Refused.", "detail": "Refused."})
            case "stored_late":
                time.sleep(self.patience * (1.1 + self._random.random()))
                return act()
            case "ratelimit_after":
                return _ratelimited(act())
        if when == "after":
            act()
        answers: dict[str, Callable[[], Reply]] = {
            "reset": lambda: Reply(cut=True),
            "error": self._error,
            "replay": self._error,
            "hang": self._hang,
            "garbled": lambda: Reply(raw=b'{"id": "12", "text": "some of i'),
            "empty": lambda: Reply(data={}),
            "page": lambda: Reply(raw=PAGE, headers={"Content-Type": "text/html"}),
            "duplicate": lambda: Reply(403, DUPLICATE),
        }
        return answers[kind]()

    def _error(self) -> Reply:
        return Reply(self._random.choice([500, 502, 503, 504]), {"error": "something went wrong"})

    def _hang(self) -> Reply:
        time.sleep(self.patience * 1.2)
        return Reply(cut=True)


def _ratelimited(reply: Reply) -> Reply:
    """Reddit's refusal beside a post that was made."""
    told: Any = reply.data
    told["json"]["errors"] = [["RATELIMIT", "You are doing that too much. Try again in 2 seconds.", "ratelimit"]]
    return reply
