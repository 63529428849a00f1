"""For every test: servers that belong to this run, and requests that do not see the test's own tenant."""

from __future__ import annotations

import asyncio
import contextvars
import os
import shutil
from pathlib import Path
from subprocess import Popen
from typing import Any

import hypothesis
import psutil
import pytest
from django.test.client import AsyncClient, Client
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from kilroy_site.embedded.postgres import FAST_AND_FORGETFUL, Postgres
from kilroy_site.embedded.redis import Redis
from kilroy_site.embedded.server import EmbeddedServer, socket_folder
from tests.emptying import empty_by_deleting
from tests.settings import RUN_FOLDER_VARIABLE

# The same examples in every run, and no clock: a machine that is busy fails no test.
hypothesis.settings.register_profile("kilroy", derandomize=True, deadline=None)
hypothesis.settings.load_profile("kilroy")

LONG = (
    "browser/test_every_page.py",
    "browser/test_hostile_text.py",
    "chaos/",
    "site/test_rehearse.py",
    "training/engine/test_finetune.py",
    "api/test_fuzz.py",
    "browser/test_own_bot.py",
    "browser/test_first_visit.py",
    "accounts/test_routes.py",
    "accounts/test_canary.py",
)
"""Files that take a minute or more come first, the longest foremost, so that no process waits for the other at the end
(`make test` keeps this order).
"""
ENGINE_TESTS = Path(__file__).parent / "training" / "engine"
_started: list[tuple[EmbeddedServer, Popen[bytes]]] = []


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the servers, before xdist starts its workers."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly or _only_engine_tests(config):
        return
    folder = Path(os.environ[RUN_FOLDER_VARIABLE])
    _remove_abandoned(folder.parent)
    for server in _servers(folder):
        _started.append((server, server.start(folder / "logs" / f"{server.name}.log")))


def pytest_configure() -> None:
    empty_by_deleting()
    _list_static_files_once()


def _list_static_files_once() -> None:
    """Every test client has middleware of its own, and WhiteNoise would walk over every static file for each."""
    listed: dict[str, StaticFile] = {}
    walk = WhiteNoiseMiddleware.add_files_from_finders

    def add_files(middleware: WhiteNoiseMiddleware) -> None:
        if not listed:
            walk(middleware)
            listed.update(middleware.files)
        middleware.files.update(listed)

    WhiteNoiseMiddleware.add_files_from_finders = add_files


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((place for place, long in enumerate(LONG) if path.startswith(long)), len(LONG))

    items.sort(key=turn)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers and remove the folder of this run."""
    while _started:
        server, process = _started.pop()
        server.stop(process)
    if not hasattr(config, "workerinput") and RUN_FOLDER_VARIABLE in os.environ:
        _remove(Path(os.environ[RUN_FOLDER_VARIABLE]))


def _servers(folder: Path) -> list[EmbeddedServer]:
    servers: list[EmbeddedServer] = []
    if not os.environ.get("DATABASE_URL"):
        servers.append(Postgres(folder, FAST_AND_FORGETFUL))
    if not os.environ.get("REDIS_URL"):
        servers.append(Redis(folder, ["--appendonly", "no"]))
    return servers


def _only_engine_tests(config: pytest.Config) -> bool:
    """The engine needs no database; neither should whoever runs its tests alone."""
    paths = [Path(config.invocation_params.dir, argument.split("::")[0]).resolve() for argument in config.args]
    return all(path.is_relative_to(ENGINE_TESTS) for path in paths)


def _remove_abandoned(runs: Path) -> None:
    """Tidy up after runs that were killed: their folders are named by pid."""
    for folder in runs.glob("[0-9]*"):
        if not psutil.pid_exists(int(folder.name)):
            for server in (Postgres(folder), Redis(folder)):
                server.stop_leftovers()
            _remove(folder)


def _remove(folder: Path) -> None:
    shutil.rmtree(socket_folder(folder), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _requests_in_a_fresh_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real request inherits no context from whoever prepared the data; a tenant that a fixture entered would
    otherwise hide a view that forgets to enter its own."""
    sync_request, async_request = Client.request, AsyncClient.request

    def request(self: Client, **environ: Any) -> Any:
        return contextvars.Context().run(sync_request, self, **environ)

    async def request_async(self: AsyncClient, **environ: Any) -> Any:
        return await asyncio.create_task(async_request(self, **environ), context=contextvars.Context())

    monkeypatch.setattr(Client, "request", request)
    monkeypatch.setattr(AsyncClient, "request", request_async)
