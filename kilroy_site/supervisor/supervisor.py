"""Starts everything, watches it, and stops all of it when one child dies or a person says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from kilroy_site.config import Config
from kilroy_site.embedded.lock import HeldError, Lock, lock_path
from kilroy_site.embedded.postgres import database_url
from kilroy_site.embedded.redis import redis_url
from kilroy_site.embedded.running import needed
from kilroy_site.embedded.server import EmbeddedServer, ServerError, tail
from kilroy_site.supervisor import children as programs
from kilroy_site.supervisor import port, reaper, state
from kilroy_site.supervisor.children import Child

WEB_SECONDS = 90.0
POLL_SECONDS = 0.2
LOCK_SECONDS = sum(reaper.GRACE_SECONDS) + 4
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SupervisorError(Exception):
    """Something keeps the installation from running; the message says what and what to do."""


class _Stop(BaseException):
    """A person asked for the end. No Exception, so that nothing on the way takes it for a failure."""


class Supervisor:
    """One installation. `prepare` runs once the servers answer (migrations), `seed` once the applications are started
    (the demo); `announce` is called with the address once the web process answers."""

    def __init__(
        self, config: Config, *, prepare: Callable[[], None], seed: Callable[[], None], announce: Callable[[], None]
    ) -> None:
        self.config = config
        self.prepare, self.seed, self.announce = prepare, seed, announce
        self.children: list[Child] = []
        self._stopping = False

    def run(self) -> None:
        """Run until a person stops it. Raises SupervisorError when it cannot start or a child dies; everything is
        stopped by then in either case."""
        with _stop_signals(self._on_signal):
            lock: Lock | None = None
            try:
                lock = self._lock()
                port.check(self.config.host, self.config.port)
                self._start_reaper(lock)
                self._start()
                self._watch()
            except _Stop:
                return
            except (ServerError, port.PortError) as error:
                raise SupervisorError(str(error)) from error
            finally:
                self._stop()
                if lock is not None:
                    lock.release()

    def _start(self) -> None:
        for server in needed(self.config):
            self._start_server(server)
        self.prepare()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PORT": str(self.config.port), "HOST": self.config.host}
        for program in programs.programs(self.config):
            self._adopt(programs.start(program, self.config.var, environment))
        self._write_state()
        self.seed()
        self._await_web()
        self.announce()

    def _start_server(self, server: EmbeddedServer) -> None:
        log = programs.log_path(self.config.var, server.name)
        programs.rotate(log)
        process = server.start(log)
        title = {"postgres": "embedded PostgreSQL", "redis": "embedded Redis"}[server.name]
        self._adopt(Child(server.name, title, process, log, programs.SERVERS, server.stop_signal))

    def _watch(self) -> None:
        while True:
            self._check_children()
            time.sleep(POLL_SECONDS)

    def _check_children(self) -> None:
        """Raises SupervisorError for the first child that has died."""
        for child in self.children:
            code = child.process.poll()
            if code is not None:
                raise SupervisorError(death(child, code))

    def _await_web(self) -> None:
        deadline = time.monotonic() + WEB_SECONDS
        while not answers(f"http://{listening_address(self.config)}/healthz"):
            self._check_children()
            if time.monotonic() > deadline:
                log = programs.log_path(self.config.var, "web")
                raise SupervisorError(
                    f"The web process does not answer after {WEB_SECONDS:.0f} s; see {log}:\n{tail(log)}"
                )
            time.sleep(POLL_SECONDS)

    def _lock(self) -> Lock:
        """The installation's lock. When its last owner was killed, wait until what it left behind has been stopped."""
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                return Lock(lock_path(self.config.var))
            except HeldError as held:
                running = state.read(self.config.var)
                if running is not None:
                    raise SupervisorError(
                        f"Kilroy already runs here, at {running.address} (process {running.supervisor.pid}): "
                        "stop that one first, or give KILROY_VAR another folder to run a second one."
                    ) from None
                if time.monotonic() > deadline:
                    raise SupervisorError(
                        f"Process {held.pid} uses the data in {self.config.var}: wait for it, or stop it."
                    ) from None
            time.sleep(POLL_SECONDS)

    def _start_reaper(self, lock: Lock) -> None:
        self._reaper = subprocess.Popen(  # nosec B603 # a list of our own words, no shell
            [sys.executable, "-S", "-E", str(Path(reaper.__file__))],
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[lock.descriptor],
        )

    def _tell_reaper(self, line: str) -> None:
        if self._reaper.stdin is not None:
            self._reaper.stdin.write(f"{line}\n".encode())
            self._reaper.stdin.flush()

    def _adopt(self, child: Child) -> None:
        self.children.append(child)
        self._tell_reaper(f"+ {child.process.pid} {int(child.stop_signal)} {child.stage}")

    def _write_state(self) -> None:
        supervisor = state.ProcessState.of("supervisor", os.getpid())
        state.write(
            self.config.var,
            state.State(
                address=self.config.public_url,
                listens=listening_address(self.config),
                database_url=self.config.database_url or database_url(self.config.var),
                redis_url=self.config.redis_url or redis_url(self.config.var),
                supervisor=supervisor,
                processes=state.process_states(self.children),
            ),
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:  # asked twice: do not wait for anybody
            for child in self.children:
                reaper.send(child.process.pid, signal.SIGKILL)
            return
        self._stopping = True
        raise _Stop

    def _stop(self) -> None:
        self._stopping = True
        alive = {child.process.pid: child.process for child in self.children}
        groups = [reaper.Group(child.process.pid, int(child.stop_signal), child.stage) for child in self.children]
        reaper.stop(groups, alive=lambda pid: alive[pid].poll() is None)
        for child in self.children:
            child.process.wait()
            self._tell_reaper(f"- {child.process.pid}")
        state.state_path(self.config.var).unlink(missing_ok=True)
        if hasattr(self, "_reaper"):
            self._reaper.communicate()


@contextmanager
def _stop_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def death(child: Child, code: int) -> str:
    """What a person needs to know about a child that died, in one line, and the end of its log."""
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    lines = tail(child.log)
    return f"The {child.title} {how}; its log is {child.log}. {child.hint}" + (f"\n{lines}" if lines else "")


def listening_address(config: Config) -> str:
    """Host and port to reach the web process from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # nosec B104 # asked, not listened on
    return f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}"


def answers(url: str) -> bool:
    """Whether a page answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # nosec B310 # our own address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
