"""Doorbells: rung after the commit, never before, and never a reason to lose work."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from accounts.doorbell import ring
from accounts.models import Organization
from tests.factories import make_organization

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Any]]]:
    """Doorbells that were rung, as (task, arguments)."""
    heard: list[tuple[str, list[Any]]] = []
    monkeypatch.setattr(
        "accounts.doorbell.current_app.send_task", lambda task, args, **options: heard.append((task, args))
    )
    return heard


def test_a_doorbell_rings_after_the_commit_and_not_before(bells: list[Any]) -> None:
    with transaction.atomic():
        ring("some.task", "an-id", 7)
        assert bells == []
    assert bells == [("some.task", ["an-id", 7])]


def test_a_doorbell_of_a_transaction_that_failed_is_never_rung(bells: list[Any]) -> None:
    with transaction.atomic():
        ring("some.task", "an-id")
        transaction.set_rollback(True)
    assert bells == []


def test_a_broker_that_is_down_does_not_undo_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    acme = make_organization()

    def down(*_: Any, **__: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr("accounts.doorbell.current_app.send_task", down)
    with transaction.atomic():
        Organization.objects.filter(pk=acme.pk).update(name="Renamed")
        ring("some.task", "an-id")
    assert Organization.objects.get(pk=acme.pk).name == "Renamed"
