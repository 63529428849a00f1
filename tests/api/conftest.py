from __future__ import annotations

import pytest

from accounts.tenancy import tenant
from bots.models import Bot
from tests.api.client import Api
from tests.everything import Everything, make_everything
from tests.factories import World, make_bot, make_world


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def api(world: World) -> Api:
    return Api(world)


@pytest.fixture
def made(world: World) -> Everything:
    with tenant(world.acme.pk):
        return make_everything()


@pytest.fixture
def bot(world: World) -> Bot:
    """A bot that has nothing yet."""
    with tenant(world.acme.pk):
        return make_bot()
