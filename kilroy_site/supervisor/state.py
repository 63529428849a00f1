"""What `up` writes down for `status`: the address, the servers in use and the processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from kilroy_site.supervisor.children import Child


@dataclass(frozen=True)
class ProcessState:
    """One process: its start time tells it from a later one with the same pid."""

    name: str
    pid: int
    started: float

    @classmethod
    def of(cls, name: str, pid: int) -> ProcessState:
        """Of a process that runs now."""
        try:
            return cls(name, pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return cls(name, pid, 0.0)

    def alive(self) -> bool:
        """Whether this very process still runs."""
        try:
            process = psutil.Process(self.pid)
            return bool(process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


@dataclass(frozen=True)
class State:
    """An installation that was started."""

    address: str
    listens: str
    database_url: str
    redis_url: str
    supervisor: ProcessState
    processes: tuple[ProcessState, ...]


def state_path(var: Path) -> Path:
    """Where it is kept. Readable by the owner only: the URLs may hold passwords."""
    return var / "run" / "processes.json"


def write(var: Path, state: State) -> None:
    """Replace what was there in one step."""
    path = state_path(var)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(state), file, indent=2)
    aside.replace(path)


def read(var: Path) -> State | None:
    """The installation that runs now, or None: a file whose supervisor is gone says nothing."""
    try:
        raw = json.loads(state_path(var).read_text())
        supervisor = ProcessState(**raw.pop("supervisor"))
        processes = tuple(ProcessState(**process) for process in raw.pop("processes"))
        state = State(supervisor=supervisor, processes=processes, **raw)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state if state.supervisor.alive() else None


def process_states(children: Iterable[Child]) -> tuple[ProcessState, ...]:
    """The children as they run now."""
    return tuple(ProcessState.of(child.name, child.process.pid) for child in children)
