"""The whole site, websockets included, served from within the test, and people's browsers that look at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from django.conf import settings
from django.db import connections
from django.test import Client

from accounts.models import User
from kilroy_site.asgi import application
from tests.factories import client_of

PATIENCE = 30.0


@contextmanager
def served() -> Iterator[str]:
    """Serve the site of this test's database. Gives its address."""
    kept_for = connections.settings["default"]["CONN_MAX_AGE"]
    connections.settings["default"]["CONN_MAX_AGE"] = 0  # its threads end without a word to their connections
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while not server.started:
            assert time.monotonic() < deadline, "uvicorn did not start"
            time.sleep(0.02)
        yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        connections.settings["default"]["CONN_MAX_AGE"] = kept_for


def signed_in(user: User) -> Client:
    """As somebody who has just proven who they are."""
    client = client_of(user)
    session = client.session
    session[AUTHENTICATION_METHODS_SESSION_KEY] = [{"method": "password", "at": time.time(), "email": user.email}]
    session.save()
    return client


def cookies(client: Client, address: str) -> list[Any]:
    """The session, for a browser; nothing for a stranger."""
    name = settings.SESSION_COOKIE_NAME
    if name not in client.cookies:
        return []
    return [{"name": name, "value": client.cookies[name].value, "url": address}]
