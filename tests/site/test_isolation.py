"""The tests' own ground: a request sees nothing of the context of the test that makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from django.core.signals import request_started
from django.test import AsyncClient, Client
from rest_framework.test import APIClient

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@pytest.fixture
def seen() -> Iterator[list[str]]:
    names: list[str] = []

    def note(**_: Any) -> None:
        names.append(tenant.get())

    request_started.connect(note)
    yield names
    request_started.disconnect(note)


@pytest.mark.parametrize("client", [Client(), APIClient()])
def test_a_request_does_not_see_the_tenant_of_the_test(client: Client, seen: list[str]) -> None:
    tenant.set("alice's")
    assert client.get("/healthz").status_code == 200
    assert (seen, tenant.get()) == (["nobody"], "alice's")


def test_an_asynchronous_request_does_not_either(seen: list[str]) -> None:
    async def ask() -> int:
        tenant.set("alice's")
        return int((await AsyncClient().get("/healthz")).status_code)

    assert asyncio.run(ask()) == 200
    assert seen == ["nobody"]
