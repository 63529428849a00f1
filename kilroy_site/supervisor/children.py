"""The processes of an installation: what each runs, where it logs, how it is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from kilroy_site.config import BASE_DIR, Config

APPLICATIONS, SERVERS = 0, 1
KEPT_LOGS = 3


@dataclass(frozen=True)
class Program:
    """A child to be started. `title` is what people read; `hint` is what they can do when it dies."""

    name: str
    title: str
    command: tuple[str, ...]
    hint: str = "Fix what the log names, then run `make up` again."


@dataclass
class Child:
    """A child that was started."""

    name: str
    title: str
    process: subprocess.Popen[bytes]
    log: Path
    stage: int = APPLICATIONS
    stop_signal: signal.Signals = signal.SIGTERM
    hint: str = field(default="Fix what the log names, then run `make up` again.")


def programs(config: Config) -> list[Program]:
    """The applications, in the order in which they are started."""
    web = ("uvicorn", "kilroy_site.asgi:application", "--host", config.host, "--port", str(config.port))
    # Whether X-Forwarded-For is read is for KILROY_TRUSTED_PROXIES to say (accounts/access.py).
    quiet = ("--no-proxy-headers", "--no-access-log", "--lifespan", "off", "--timeout-graceful-shutdown", "2")
    # Live events: compressing each client's frames costs three times the sending, and clients have little to say.
    sockets = ("--ws-per-message-deflate", "false", "--ws-max-size", "65536")
    return [
        Program("web", "web process", _python(*web, *quiet, *sockets, "--log-level", config.log_level.lower())),
        Program("io", "io worker", _worker(config, "io", "--pool=prefork", f"--concurrency={config.publishers}")),
        Program(
            "training",
            "training worker",
            _worker(config, "gpu", "--pool=solo", "--concurrency=1"),
            "A worker killed for memory needs a smaller base model or batch; otherwise fix what the log names. "
            "Then run `make up` again: training goes on from its last checkpoint.",
        ),
        Program("beat", "clock (beat)", _beat(config)),
    ]


def node_name(queue: str) -> str:
    """Name of the worker of a queue, before the host's name."""
    return {"gpu": "training"}.get(queue, queue)


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def _worker(config: Config, queue: str, *pool: str) -> tuple[str, ...]:
    name = node_name(queue)
    return _python(
        *("celery", "-A", "kilroy_site", "worker", "-Q", queue, "-n", f"{name}@%h", *pool),
        *("--prefetch-multiplier=1", "--without-gossip", "--without-mingle", f"--loglevel={config.log_level}"),
        *("--include", "kilroy_site.supervisor.heartbeat"),
    )


def _beat(config: Config) -> tuple[str, ...]:
    return _python(
        *("celery", "-A", "kilroy_site", "beat", "--schedule", str(config.var / "run" / "beat-schedule"), "--pidfile="),
        *("--scheduler", "kilroy_site.supervisor.heartbeat:Scheduler", f"--loglevel={config.log_level}"),
    )


def log_path(var: Path, name: str) -> Path:
    """Where a child logs."""
    return var / "logs" / f"{name}.log"


def rotate(log: Path) -> None:
    """Keep the logs of the last starts as `.1` (newest) to `.KEPT_LOGS`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    for number in range(KEPT_LOGS - 1, -1, -1):
        older = log if number == 0 else log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))


def start(program: Program, var: Path, environment: dict[str, str]) -> Child:
    """Start `program` in a session of its own, so that a Ctrl-C in the terminal reaches the supervisor alone."""
    log = log_path(var, program.name)
    rotate(log)
    with log.open("ab") as output:
        process = subprocess.Popen(  # nosec B603 # a list of our own words, no shell
            program.command,
            cwd=BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Child(program.name, program.title, process, log, hint=program.hint)
