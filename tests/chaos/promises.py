"""Two promises at the protocol's real waits: what a flushed Redis costs, how soon the operator's switch is felt."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from accounts import site
from tests.chaos.fleet import Fleet, Servers
from tests.chaos.network import Network
from tests.chaos.platforms import Platform
from tests.chaos.posts import Publishing

FLUSHED_SECONDS, SWITCH_SECONDS = 60.0, 5.0
FLUSHES, SECONDS_BETWEEN = 30, 0.25
FIRST = 90_000


@dataclass
class Kept:
    """`latest`: seconds after its slot at which the last post was out although Redis was flushed all the while;
    `left`: posts that were not out then. `switched`: seconds after the operator's switch at which the last send began,
    and `held` posts that waited then.
    """

    latest: float
    left: int
    switched: float
    held: int

    @property
    def problems(self) -> list[str]:
        found = []
        if self.latest > FLUSHED_SECONDS or self.left:
            found.append(
                f"with Redis flushed, posts were out {self.latest:.1f} s after their slots, and {self.left} not"
            )
        if self.switched > SWITCH_SECONDS or not self.held:
            found.append(f"the switch was felt after {self.switched:.1f} s, and held {self.held} posts")
        return found


def measure(network: Network, platforms: Mapping[str, Platform], servers: Servers) -> Kept:
    """Publish with real workers while Redis is flushed all the while; then pause the installation as posts flow."""
    # Telegram takes one post a second of an account: its own limit would hold posts back, too.
    fast = {name: platform for name, platform in platforms.items() if name != "telegram"}
    publishing = Publishing(fast, seed=0, name="Promises", first=FIRST)
    fleet = Fleet(servers.var, {**os.environ, "CHAOS_FACTOR": "1"}, 0, workers=1, processes=8)
    fleet.start()
    try:
        publishing.approve(2 * len(publishing.bots))
        for _ in range(FLUSHES):
            servers.flush_redis()
            time.sleep(SECONDS_BETWEEN)
        _until_all_are_out(publishing, FLUSHED_SECONDS + 30.0)
        times = publishing.rows().filter(state="published").values_list("published_at", "slot_utc")
        latest = max(((at - slot).total_seconds() for at, slot in times), default=0.0)
        return Kept(latest, publishing.on_their_way(), *_pause_in_the_flow(network, publishing))
    finally:
        fleet.stop()


def _pause_in_the_flow(network: Network, publishing: Publishing) -> tuple[float, int]:
    """Seconds from the pause to the last send, and how many posts it held back."""
    before = len(network.sends)
    publishing.approve(5 * len(publishing.bots))
    deadline = time.monotonic() + 30.0
    while len(network.sends) < before + len(publishing.bots) and time.monotonic() < deadline:
        time.sleep(0.02)
    site.pause_site("Tried out")
    paused = time.monotonic()
    time.sleep(SWITCH_SECONDS + 2.0)
    return max(0.0, network.sends[-1] - paused), publishing.on_their_way()


def _until_all_are_out(publishing: Publishing, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while publishing.on_their_way() and time.monotonic() < deadline:
        time.sleep(0.2)
