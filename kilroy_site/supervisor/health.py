"""What `status` finds out about a running installation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from kilroy_site.supervisor.children import node_name
from kilroy_site.supervisor.heartbeat import heartbeat_path, is_fresh
from kilroy_site.supervisor.state import ProcessState, State
from kilroy_site.supervisor.supervisor import answers

SECONDS = 3


@dataclass(frozen=True)
class Health:
    """One line of `status`. `pid` is None for a server that is not ours."""

    name: str
    pid: int | None
    healthy: bool
    detail: str


def report(state: State, var: Path) -> list[Health]:
    """Ask every process how it is."""
    pids = {process.name: process for process in state.processes}
    lines = [Health("supervisor", state.supervisor.pid, True, "watches the others")]
    for name, check in _checks(state, var).items():
        process = pids.get(name)
        if process is not None and not process.alive():
            lines.append(Health(name, process.pid, False, "has ended"))
        else:
            lines.append(_ask(name, process, check))
    return lines


def _ask(name: str, process: ProcessState | None, check: Callable[[ProcessState | None], str]) -> Health:
    pid = process.pid if process else None
    try:
        return Health(name, pid, True, check(process))
    except Exception as error:  # whatever a driver raises, the answer is: not healthy
        return Health(
            name, pid, False, str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        )


def _checks(state: State, var: Path) -> dict[str, Callable[[ProcessState | None], str]]:
    pings: dict[str, Any] = {}

    def worker(process: ProcessState | None) -> str:
        assert process is not None
        if not pings:
            pings.update(_ping())
        if any(node.partition("@")[0] == node_name(process.name) for node in pings):
            return "answers a ping"
        return _beating(process, "works (too busy to answer a ping)")

    def beat(process: ProcessState | None) -> str:
        assert process is not None
        return _beating(process, "ticks")

    def _beating(process: ProcessState, detail: str) -> str:
        if not is_fresh(heartbeat_path(var, process.name), process.pid):
            raise RuntimeError("no sign of life")
        return detail

    return {
        "postgres": lambda _: _query(state.database_url),
        "redis": lambda _: _redis(state.redis_url),
        "web": lambda _: _web(state.listens),
        "io": worker,
        "training": worker,
        "beat": beat,
    }


def _query(url: str) -> str:
    with psycopg.connect(url, connect_timeout=SECONDS) as connection:
        connection.execute("SELECT 1")
    return "answers a query"


def _redis(url: str) -> str:
    with redis.Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS) as client:
        client.ping()
    return "answers a ping"


def _web(address: str) -> str:
    if not answers(f"http://{address}/healthz"):
        raise RuntimeError("/healthz does not answer")
    return "answers /healthz"


def _ping() -> dict[str, Any]:
    from kilroy_site.celery import app

    return dict(app.control.inspect(timeout=1.5).ping() or {})
