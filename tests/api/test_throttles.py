"""How often one may ask, and how one is told."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.test import Client
from pytest_django import Settings

from accounts import throttles
from accounts.models import ApiToken, Membership, Organization
from accounts.tenancy import tenant
from accounts.tokens import create_token
from tests.api.client import BASE
from tests.everything import Everything
from tests.factories import World, client_of, make_connection

ITEM = re.compile(r'"(\w+)"((?:;\w+=\d+)+)')


@pytest.fixture(autouse=True)
def _limits(settings: Settings) -> None:
    settings.API_LIMITS = {"caller": 5, "organization": 8, "generate": 2}


def items(header: str) -> dict[str, dict[str, int]]:
    """A field of policies: name → its parameters."""
    parts = header.split(", ")
    found = [ITEM.fullmatch(part) for part in parts]
    assert all(found), header
    return {
        match[1]: {name: int(value) for name, value in (each.split("=") for each in match[2][1:].split(";"))}
        for match in found
        if match
    }


def left(answer: Any) -> dict[str, int]:
    return {name: each["r"] for name, each in items(answer.headers["RateLimit"]).items()}


def token_client(world: World) -> Any:
    with tenant(world.acme.pk):
        _, secret = create_token(Membership.objects.get(user=world.alice), "A program")
    return lambda path="bots/": Client().get(BASE + path, headers={"Authorization": f"Bearer {secret}"})


def test_every_answer_says_the_limits_and_what_is_left(world: World) -> None:
    alice = client_of(world.alice)
    answers = [alice.get(BASE + path) for path in ("bots/", "bots/x/", "bots/?colour=red")]
    assert [answer.status_code for answer in answers] == [200, 404, 400]
    assert [left(answer) for answer in answers] == [
        {"caller": 4 - number, "organization": 7 - number} for number in range(3)
    ]
    assert items(answers[0].headers["RateLimit-Policy"]) == {
        name: {"q": most, "w": 60} for name, most in (("caller", 5), ("organization", 8), ("generate", 2))
    }
    assert all(0 < each["t"] <= 60 for each in items(answers[0].headers["RateLimit"]).values())


def test_who_asks_too_often_is_told_when_to_ask_again(world: World) -> None:
    ask = token_client(world)
    assert [ask().status_code for _ in range(5)] == [200] * 5
    refused = ask()
    assert (refused.status_code, refused.headers["Content-Type"]) == (429, "application/problem+json")
    seconds = int(refused.headers["Retry-After"])
    assert 0 < seconds <= 60
    told = refused.json()
    assert (told["type"], told["violated-policies"]) == ("/problems/throttled", ["caller"])
    assert (f"{seconds} seconds" in told["detail"], "5 a minute" in told["detail"]) == (True, True)
    assert left(refused) == {"caller": 0, "organization": 3}


def test_each_caller_has_a_limit_and_the_organization_one_for_all(world: World) -> None:
    first, second = token_client(world), token_client(world)
    assert [first().status_code for _ in range(7)] == [200] * 5 + [429] * 2
    answers = [second() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429]  # what was refused took nothing
    assert answers[-1].json()["violated-policies"] == ["organization"]
    assert client_of(world.charlie).get("/api/v1/organizations/globex/bots/").status_code == 200


def test_what_is_expensive_has_a_limit_of_its_own(made: Everything, world: World) -> None:
    alice = client_of(world.alice)
    statuses = [alice.post(BASE + "generate/", {}, content_type="application/json").status_code for _ in range(3)]
    assert statuses == [400, 400, 429]
    assert alice.get(BASE + "generate/").status_code == 200


def test_a_stranger_learns_nothing_of_the_organization(world: World) -> None:
    charlie = client_of(world.charlie)
    theirs, missing = charlie.get(BASE + "bots/"), charlie.get("/api/v1/organizations/nowhere/bots/")
    assert (left(theirs), left(missing)) == ({"caller": 4}, {"caller": 3})
    nobody = Client().get(BASE + "bots/")
    assert (nobody.status_code, "RateLimit" in nobody.headers, "RateLimit-Policy" in nobody.headers) == (
        401,
        False,
        True,
    )


def test_counting_at_once_lets_exactly_the_limit_pass(world: World) -> None:
    limit = throttles.Limit("organization", "the same")

    def ask(number: int) -> bool:
        try:
            throttles.count(limit)
        except throttles.Throttled:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, range(64))) == 8


def test_a_window_ends(world: World, settings: Settings) -> None:
    ask = token_client(world)
    for _ in range(6):
        ask()
    client = redis.Redis.from_url(settings.REDIS_URL)
    with tenant(world.acme.pk):
        mine = [f"api-limit:caller:{ApiToken.objects.get().pk}", f"api-limit:organization:{world.acme.pk}"]
    assert all(0 < client.ttl(key) <= 60 for key in mine)
    assert client.delete(*mine) == 2
    assert ask().status_code == 200


@pytest.fixture
def without_redis(settings: Settings) -> Iterator[None]:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    throttles._script.cache_clear()
    yield
    throttles._script.cache_clear()


def test_without_redis_requests_pass_and_it_is_logged(
    world: World, without_redis: None, caplog: pytest.LogCaptureFixture
) -> None:
    alice = client_of(world.alice)
    with caplog.at_level(logging.WARNING, "accounts.throttles"):
        answers = [alice.get(BASE + "bots/") for _ in range(7)]
    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit" not in answers[0].headers
    assert "uncounted" in caplog.text


def test_a_quota_that_is_used_up_is_told_apart(world: World) -> None:
    Organization.objects.filter(pk=world.acme.pk).update(quotas={"bots": 0})
    with tenant(world.acme.pk):
        body = {"name": "Writer", "connection": str(make_connection().pk)}
    answer = client_of(world.alice).post(BASE + "bots/", body, content_type="application/json")
    told = answer.json()
    assert (answer.status_code, told["type"], told["quota"]) == (403, "/problems/quota-exceeded", "bots")
    assert (told["frees_at"], "Retry-After" in answer.headers) == (None, False)
