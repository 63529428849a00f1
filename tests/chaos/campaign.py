"""A campaign's course: publish while everything fails, let it settle, judge."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from django.db import connection
from django.db.models import F

from bots import deadman
from bots.faults import POINTS
from bots.services.recovery import BETWEEN_LOOKS
from bots.services.steps import QUIESCENCE
from tests.chaos import naive, promises, report, times
from tests.chaos.fleet import Fleet, Servers
from tests.chaos.network import Network
from tests.chaos.platforms import Platform
from tests.chaos.posts import Publishing, patiently
from tests.chaos.size import LEAST_FIRINGS, Size

TICK = 0.1
BACKLOG = 150
"""Posts that wait to be sent for the first time; with more, the campaign would measure the machine."""
RARE = ("before_find", "after_find", "before_settle", "after_send", "before_book", "after_slot", "after_queue")
"""Points that fewer come to: only unknown outcomes, good answers, and beat's ticks."""
CHANCES = dict.fromkeys(POINTS, 0.025) | dict.fromkeys(RARE, 0.045) | {"before_claim": 0.01}


class Campaign:
    def __init__(self, size: Size, network: Network, platforms: Mapping[str, Platform], servers: Servers) -> None:
        self.size, self.network, self.servers, self.platforms = size, network, servers, platforms
        self.dice = random.Random(size.seed)
        self.fleet = Fleet(servers.var, os.environ, size.seed, size.workers)
        looks = (QUIESCENCE + 2 * BETWEEN_LOOKS).total_seconds()
        self.fleet.naps = (deadman.SECONDS, 1.5 * looks)
        self.publishing = Publishing(platforms, size.seed)
        self.began = time.monotonic()

    def run(self) -> int:
        say(times.told(self.size.factor))
        self._switch_faults(on=True)
        self.fleet.start()
        try:
            self._publish()
            self._try_everything()
            self._switch_faults(on=False)
            self.fleet.restart_workers()
            self._settle()
        finally:
            self.fleet.stop()
        kept = promises.measure(self.network, self.platforms, self.servers)
        return self._judge(kept)

    def _switch_faults(self, *, on: bool) -> None:
        self.network.chance = self.size.chance if on else 0.0
        more = 1.0 if self.size.is_full else 1.6
        self.fleet.faults = {name: more * chance for name, chance in CHANCES.items()} if on else {}
        self.fleet.freeze = 0.02 if on else 0.0

    def _publish(self) -> None:
        """Approve the posts as fast as they go out, at most at the campaign's rate; its events happen among them."""
        events, approved, naively, last = self._events(), 0, 0, time.monotonic()
        while approved < self.size.posts or events:
            time.sleep(TICK)
            while events and events[0][0] <= approved:
                events.pop(0)[1]()
            now = time.monotonic()
            count = min(self.size.posts - approved, int(self.size.rate * (now - last)))
            if count and self.publishing.untried() < BACKLOG:
                patiently(lambda count=count: self.publishing.approve(count))  # type: ignore[misc]
                approved += count
            if count:
                last = now
            share = self._naive_share(approved)
            self._hand_to_naive(share - naively)
            naively = share
            self.fleet.tend()

    def _naive_share(self, approved: int) -> int:
        """How many posts the control arm has been given by now: as many while few of them would prove nothing."""
        return min(approved, max(100, approved // 3))

    def _events(self) -> list[tuple[float, Callable[[], None]]]:
        """What happens after how many posts. One flush of Redis comes upon many waiting messages of the control arm."""
        size, servers, fleet = self.size, self.servers, self.fleet
        happen: list[tuple[int, Callable[[], None]]] = [
            (size.times(75), fleet.kill_publisher),
            (size.times(10), fleet.kill_worker),
            (size.times(4), fleet.kill_beat),
            (size.times(5), self._crash_postgres),
            (size.times(5), servers.crash_redis),
            (size.times(10), servers.flush_redis),
        ]
        events = [(self.dice.uniform(0.1, 0.95) * size.posts, event) for count, event in happen for _ in range(count)]
        events.append((0.5 * size.posts, self._flush_upon_the_naive))
        return sorted(events, key=lambda event: event[0])

    def _crash_postgres(self) -> None:
        self.servers.crash_postgres()
        connection.close()

    def _flush_upon_the_naive(self) -> None:
        self._hand_to_naive(12 * self.size.workers)
        self.servers.flush_redis()

    def _hand_to_naive(self, count: int) -> None:
        try:
            self.publishing.publish_naively(count)
        except Exception as error:  # Redis is away: a naive publisher's message is lost with it
            say(f"the naive publisher could not be asked: {type(error).__name__}")

    def _try_everything(self) -> None:
        """Go on until every post was tried amid faults, and unknown outcomes were looked for. At full size also until
        every named point has fired often enough, with more posts where that needs them.
        """
        looks = (QUIESCENCE + BETWEEN_LOOKS).total_seconds()
        until, limit = time.monotonic() + looks, time.monotonic() + 600.0
        if lacking := self._lacking():
            self.fleet.faults = dict.fromkeys(POINTS - lacking, 0.005) | dict.fromkeys(lacking, 0.1)
            self.fleet.restart_workers()
        while time.monotonic() < limit:
            if self._lacking():
                if self.publishing.untried() < BACKLOG:
                    patiently(lambda: self.publishing.approve(max(1, round(self.size.rate))))
            elif time.monotonic() > until and not self.publishing.untried():
                return
            self.fleet.tend()
            time.sleep(1.0)

    def _lacking(self) -> set[str]:
        fired = self.fleet.points()
        return {name for name in POINTS if fired[name] < LEAST_FIRINGS} if self.size.is_full else set()

    def _settle(self) -> None:
        """With faults off, wait until nothing is on its way."""
        rounds = 4 * (QUIESCENCE + 2 * BETWEEN_LOOKS).total_seconds()
        deadline = time.monotonic() + 60.0 + rounds
        while (left := self.publishing.on_their_way()) and time.monotonic() < deadline:
            self.fleet.tend()
            time.sleep(0.3)
        if left:
            say(f"{left} posts were still on their way after {60 + rounds:.0f} s without faults")

    def _judge(self, kept: promises.Kept) -> int:
        copies = report.copies_by_text(self.platforms.values())
        verdict = report.judge(self._rows(), copies)
        control = report.judge_naive(self.publishing.naive_texts(), naive.outcomes(self.servers.var), copies)
        fired, faults = self.fleet.points(), sum(self.network.injected.values())
        kills = sum(fired.values()) + sum(self.fleet.killed.values())
        for line in verdict.told:
            say(line)
        say(f"took {time.monotonic() - self.began:.0f} s; p95 lateness {report.p95(verdict.lateness):.1f} s")
        say(f"by face: {_listed(verdict.by_face)}")
        say(f"network faults: {_listed(self.network.injected)}; by face: {_listed(self.network.of_face)}")
        say(f"fault points: {_listed({name: fired[name] for name in POINTS})}")
        say(f"killed besides: {_listed(self.fleet.killed)}; frozen {self.fleet.frozen}; refused {verdict.rejected}")
        say(f"Redis flushed {promises.FLUSHES} times: the last post was out {kept.latest:.1f} s after its slot")
        say(f"operator's switch: the last send began {kept.switched:.1f} s after it, {kept.held} posts were held")
        say(f"naive publisher: posts={control.posts} lost={control.lost} doubled={control.doubled}")
        say(
            f"posts={verdict.posts} faults={faults} kills={kills} "
            f"lost={verdict.lost} doubled={verdict.doubled} parked={verdict.parked}"
        )
        return self._exit_code([*kept.problems, *self._problems(verdict, control, faults, kills)])

    def _rows(self) -> Any:
        names = ("pk", "text", "state", "remote_id", "slot_utc", "published_at", "last_error")
        return self.publishing.rows().values(*names, face=F("connection__kind"))

    def _problems(self, verdict: report.Verdict, control: report.Verdict, faults: int, kills: int) -> list[str]:
        problems = []
        if verdict.lost or verdict.doubled:
            problems.append("posts were lost or doubled")
        if not control.lost or not control.doubled:
            problems.append("the naive publisher did not fail: the campaign proves nothing")
        if self.size.is_full:
            if lacking := self._lacking():
                problems.append(
                    f"fault points that fired less than {LEAST_FIRINGS} times: {', '.join(sorted(lacking))}"
                )
            if 2 * faults < self.size.posts or 5 * kills < self.size.posts:
                problems.append("there were too few faults or kills")
        return problems

    def _exit_code(self, problems: list[str]) -> int:
        for problem in problems:
            say(f"not passed: {problem}")
        return 1 if problems else 0


def run(size: Size, network: Network, platforms: Mapping[str, Platform], servers: Servers) -> int:
    """A whole campaign. Returns the exit code."""
    return Campaign(size, network, platforms, servers).run()


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
