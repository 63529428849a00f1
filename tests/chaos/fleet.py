"""The processes of the campaign's installation, as the supervisor starts them, and what is done to them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import redis

from kilroy_site.config import load
from kilroy_site.embedded.postgres import Postgres
from kilroy_site.embedded.redis import Redis, socket_path
from kilroy_site.supervisor import children
from tests.chaos.apps import FROZEN

PROCESSES = 4
"""Of each worker."""


@dataclass
class Servers:
    """PostgreSQL and Redis of this installation, with the durability of a real one."""

    var: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.postgres, self.redis = Postgres(self.var), Redis(self.var)

    def start(self) -> None:
        for server in (self.postgres, self.redis):
            self.processes[server.name] = server.start(self.var / "logs" / f"{server.name}.log")

    def stop(self) -> None:
        for server in (self.redis, self.postgres):
            if process := self.processes.pop(server.name, None):
                server.stop(process)

    def crash_postgres(self) -> None:
        """Immediate shutdown, as a crash leaves it, and start again."""
        self.processes["postgres"].send_signal(signal.SIGQUIT)
        self.processes["postgres"].wait()
        self.processes["postgres"] = self.postgres.start(self.var / "logs" / "postgres.log")

    def crash_redis(self) -> None:
        self.processes["redis"].kill()
        self.processes["redis"].wait()
        self.processes["redis"] = self.redis.start(self.var / "logs" / "redis.log")

    def flush_redis(self) -> None:
        with redis.Redis(unix_socket_path=str(socket_path(self.var))) as client:
            client.flushall()


class Fleet:
    """Workers and beat. `faults`: named points → probabilities, for workers that start from now on. `killed`: how often
    what was killed from outside.
    """

    def __init__(
        self, var: Path, environment: Mapping[str, str], seed: int, workers: int, processes: int = PROCESSES
    ) -> None:
        self.var, self.environment = var, dict(environment)
        self.faults: dict[str, float] = {}
        self.freeze = 0.0
        self.killed: Counter[str] = Counter()
        self.frozen = 0
        self._random = random.Random(seed)
        self._children: dict[str, children.Child] = {}
        self._starts: Counter[str] = Counter()
        self._orphans: list[tuple[float, int]] = []
        self._to_wake: list[tuple[float, int]] = []
        self._seen = 0
        config = load(self._environment())
        programs = {program.name: program for program in children.programs(config)}
        command = programs["io"].command
        self._programs = {"beat": programs["beat"]}
        for number in range(workers):
            changes = {
                "io@%h": f"io{number}@%h",
                f"--concurrency={config.publishers}": f"--concurrency={processes}",
            }
            name = f"io{number}"
            self._programs[name] = replace(programs["io"], name=name, command=tuple(changes.get(p, p) for p in command))

    def start(self) -> None:
        for name in self._programs:
            self._start(name)

    def stop(self) -> None:
        self.wake(everyone=True)
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
        self._children.clear()
        self._end_orphans(everyone=True)

    def tend(self) -> None:
        """What systemd or a supervisor would do: start again what has died, and end what it left behind."""
        for name, child in list(self._children.items()):
            if child.process.poll() is not None:
                self._orphans.append((time.monotonic() + self._random.uniform(0.0, 3.0), child.process.pid))
                self._start(name)
        self._end_orphans()
        self.wake()

    def restart_workers(self) -> None:
        """Start all workers anew, with the faults of now."""
        for name, child in list(self._children.items()):
            if name != "beat":
                self._end(child)
                self._start(name)

    def kill_publisher(self) -> None:
        """SIGKILL to one process of a pool."""
        processes = [p for name, child in self._children.items() if name != "beat" for p in _pool(child)]
        if processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # its deadman was faster
                self._random.choice(processes).kill()
                self.killed["publisher"] += 1

    def kill_worker(self) -> None:
        """SIGKILL to a worker; its pool is left to itself for a while."""
        self._kill(self._random.choice([name for name in self._children if name != "beat"]))

    def kill_beat(self) -> None:
        self._kill("beat")

    def wake(self, *, everyone: bool = False) -> None:
        """Continue what has frozen, each at its time: soon after its deadman, or when its post was looked for twice."""
        file = self.var / FROZEN
        pids = file.read_text().split() if file.exists() else []
        for pid in pids[self._seen :]:
            deadman, late = self.naps
            nap = self._random.choice((1.2 * deadman, late))
            self._to_wake.append((time.monotonic() + nap, int(pid)))
            self.frozen += 1
        self._seen = len(pids)
        due = [entry for entry in self._to_wake if everyone or entry[0] <= time.monotonic()]
        self._to_wake = [entry for entry in self._to_wake if entry not in due]
        for _, pid in due:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    naps = (30.0, 200.0)
    """Seconds that a frozen publisher sleeps: longer than the deadman, or until its post was looked for twice."""

    def points(self) -> Counter[str]:
        """How often each named point killed its process."""
        file = self.var / "faults.log"
        return Counter(file.read_text().split()) if file.exists() else Counter()

    def _kill(self, name: str) -> None:
        child = self._children[name]
        if child.process.poll() is None:
            child.process.kill()
            child.process.wait()
            self.killed["beat" if name == "beat" else "worker"] += 1

    def _start(self, name: str) -> None:
        self._starts[name] += 1
        program = replace(self._programs[name], name=f"{name}.{self._starts[name]}")
        self._children[name] = children.start(program, self.var, self._environment())

    def _environment(self) -> dict[str, str]:
        environment = self.environment | {"CHAOS_FREEZE": str(self.freeze)}
        if self.faults:
            environment["KILROY_FAULTS"] = ",".join(f"{name}:{chance:.5f}" for name, chance in self.faults.items())
        return environment

    def _end(self, child: children.Child) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()

    def _end_orphans(self, *, everyone: bool = False) -> None:
        due = [entry for entry in self._orphans if everyone or entry[0] <= time.monotonic()]
        self._orphans = [entry for entry in self._orphans if entry not in due]
        for _, group in due:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


def _pool(child: children.Child) -> list[psutil.Process]:
    try:
        return list(psutil.Process(child.process.pid).children())
    except psutil.NoSuchProcess:
        return []
