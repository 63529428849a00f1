from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import User
from accounts.tenancy import tenant
from tests.accounts.webhook_receiver import Receiver, receiver
from tests.factories import World, make_member, make_user, make_world


@pytest.fixture(autouse=True)
def _attempts_are_counted_anew(settings: Any) -> None:
    """The servers are those of the whole run: without this, the attempts of one test would count in the next."""
    settings.CACHES = {"default": {**settings.CACHES["default"], "KEY_PREFIX": uuid.uuid4().hex}}


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def at(settings: Settings) -> Iterator[Receiver]:
    """A receiver of webhooks on loopback, which the operator has opened."""
    settings.OUTBOUND_ALLOW = frozenset()
    with receiver(lambda port: _open(settings, port)) as found:
        yield found


@pytest.fixture
def elsewhere(settings: Settings, at: Receiver) -> Iterator[Receiver]:
    """Another one."""
    with receiver(lambda port: _open(settings, port)) as found:
        yield found


def _open(settings: Settings, port: int) -> None:
    settings.OUTBOUND_ALLOW |= {("127.0.0.1", port)}


@pytest.fixture
def acme(world: World) -> Iterator[World]:
    """Within Acme's tenant."""
    with tenant(world.acme.pk):
        yield world


@pytest.fixture
def ada(acme: World) -> User:
    """An admin of Acme, beside Alice, who owns it."""
    return make_member(acme.acme, "admin", make_user("ada@kilroy.example")).user
