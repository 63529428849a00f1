from __future__ import annotations

from typing import Any

import pytest

from faces.contract import Face
from faces.registry import FACES
from tests.factories import World, make_world
from tests.fake_platform import FakePlatform, StubKind, fake_face


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch, platform: FakePlatform) -> type[Face]:
    face = fake_face(platform)
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    return face


@pytest.fixture
def with_keys(monkeypatch: pytest.MonkeyPatch, platform: FakePlatform) -> type[Face]:
    face = fake_face(platform, idempotency="key")
    monkeypatch.setitem(FACES, "fake", StubKind(face))
    return face


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Any]]]:
    """Doorbells that were rung, as (task, arguments)."""
    heard: list[tuple[str, list[Any]]] = []
    monkeypatch.setattr(
        "accounts.doorbell.current_app.send_task", lambda task, args, **options: heard.append((task, args))
    )
    return heard
