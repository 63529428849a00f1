"""The embedded servers for the length of a block: attach to those that run, else start them and stop them at the
end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kilroy_site.config import Config
from kilroy_site.embedded.lock import HeldError, Lock, lock_path
from kilroy_site.embedded.postgres import Postgres
from kilroy_site.embedded.redis import Redis
from kilroy_site.embedded.server import START_SECONDS, EmbeddedServer, ServerError

POLL_SECONDS = 0.1


def needed(config: Config) -> list[EmbeddedServer]:
    """The servers that the environment does not name."""
    servers: list[EmbeddedServer] = []
    if config.database_url is None:
        servers.append(Postgres(config.var))
    if config.redis_url is None:
        servers.append(Redis(config.var))
    return servers


@contextmanager
def running(servers: Sequence[EmbeddedServer], var: Path) -> Iterator[None]:
    """Run the block with `servers` answering. Raises ServerError when they cannot be had.

    Who comes first owns them and stops them; who comes later shares them for as long as the owner lives.
    """
    with ExitStack() as stack:
        lock = _lock_or_attach(servers, var)
        if lock is not None:
            stack.callback(lock.release)
            for server in servers:
                process = server.start(var / "logs" / f"{server.name}.log")
                stack.callback(server.stop, process)
        yield


def _lock_or_attach(servers: Sequence[EmbeddedServer], var: Path) -> Lock | None:
    """The lock when the servers are ours to start; None when another process runs them."""
    if not servers:
        return None
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return Lock(lock_path(var))
        except HeldError as held:
            if all(server.answers() for server in servers):
                return None
            if time.monotonic() > deadline:
                raise ServerError(
                    f"Process {held.pid} owns the servers in {var}, but they do not answer: stop it and try again."
                ) from None
        time.sleep(POLL_SECONDS)
