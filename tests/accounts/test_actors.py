"""Who no longer gets in, or does not yet, at every address: removed members, tokens that ended, members without the
second factor that is demanded. (Nobody, strangers and viewers: test_routes.py; scopes: tests/api/test_tokens.py;
websockets: tests/bots/test_live.py.)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from django.test import Client

from accounts import clock
from accounts.members import remove_member
from accounts.models import ApiToken, Membership, Organization, User
from accounts.roles import Role
from accounts.tenancy import tenant
from accounts.tokens import create_token, revoke_token
from tests.accounts.signing_in import add_authenticator_app
from tests.accounts.test_routes import (
    MISSING,
    OPERATOR,
    OUTSIDE_OF_ORGANIZATIONS,
    _api_addresses,
    _ask,
    _others,
    _without_nonce,
)
from tests.everything import Everything, make_everything
from tests.factories import World, client_of, make_member, make_user
from tests.routes import PAGES, ROUTES, Route, ids_of


@pytest.fixture
def made(world: World) -> Everything:
    with tenant(world.acme.pk):
        return make_everything()


Ids = Callable[[Route], dict[str, Any]]


@pytest.fixture
def ids(made: Everything) -> Ids:
    """`ids_of` with its look-ups made once for each address."""
    return cache(lambda route: ids_of(made, route))


@pytest.fixture
def pages(db: None) -> list[tuple[Route, str]]:
    """Every page with the methods that it has: whoever is nobody is told of a method that is missing."""
    found, nobody = [], Client()
    for route in PAGES:
        url = route.url("acme", _Any())
        found += [(route, method) for method in ("get", "post") if getattr(nobody, method)(url).status_code != 405]
    return found


class _Any(dict[str, Any]):
    """An id for every name."""

    def __missing__(self, name: str) -> str:
        return "0" * 64 if name == "sha256" else "sandbox" if name == "kind" else MISSING


def _token(world: World, user: User, **how: Any) -> tuple[ApiToken, dict[str, str]]:
    """A token of this person at Acme, and the headers that bring it."""
    with tenant(world.acme.pk):
        token, secret = create_token(Membership.objects.get(user=user), "A program", **how)
    return token, {"Authorization": f"Bearer {secret}"}


def _revoke(world: World, token: ApiToken) -> None:
    with tenant(world.acme.pk):
        revoke_token(token.pk)


def _expire(world: World, token: ApiToken) -> None:
    ApiToken.everyone.filter(pk=token.pk).update(expires_at=clock.now() - timedelta(seconds=1))


def _remove(world: World, token: ApiToken) -> None:
    with tenant(world.acme.pk):
        remove_member(Membership.objects.get(user=world.alice), token.membership.user_id)


ENDS: dict[str, Callable[[World, ApiToken], None]] = {
    "revoked": _revoke,
    "expired": _expire,
    "of a removed member": _remove,
}


@pytest.mark.parametrize("end", list(ENDS))
def test_a_token_that_ended_opens_nothing(world: World, ids: Ids, end: str) -> None:
    owner, found = make_user(), {}
    make_member(world.acme, Role.OWNER, owner)
    token, headers = _token(world, owner)
    program = Client()  # one for all: each loads the middleware anew
    assert _ask(program, "get", "/api/v1/organizations/", **headers).status_code == 200
    ENDS[end](world, token)
    for route, method in _api_addresses():
        answer = _ask(program, method, route.url("acme", ids(route)), **headers)
        found[route.pattern, method] = (answer.status_code, answer.headers["Content-Type"])
    for route in ROUTES:  # and below no organization
        if route.pattern in OUTSIDE_OF_ORGANIZATIONS and route.pattern.startswith("api/v1/"):
            for method in route.actions:
                answer = _ask(program, method, route.url("", {}), **headers)
                found[route.pattern, method] = (answer.status_code, answer.headers["Content-Type"])
    assert _others(found, (401, "application/problem+json")) == {}
    assert len(found) > 150


def test_a_removed_member_finds_the_organization_as_missing_as_one_that_never_was(
    world: World, ids: Ids, pages: list[tuple[Route, str]]
) -> None:
    owner, found = make_user(), {}
    make_member(world.acme, Role.OWNER, owner)
    client = client_of(owner)
    assert client.get("/o/acme/settings/").status_code == 200
    with tenant(world.acme.pk):
        remove_member(Membership.objects.get(user=world.alice), owner.pk)
    for route, method in [*pages, *_api_addresses()]:
        here, nowhere = (_ask(client, method, route.url(slug, ids(route))) for slug in ("acme", "no-such-place"))
        alike = _without_nonce(here) == _without_nonce(nowhere)
        found[route.pattern, method] = (here.status_code, nowhere.status_code, alike)
    assert _others(found, (404, 404, True)) == {}


def test_a_token_is_none_at_pages_and_not_at_the_operators(
    world: World, ids: Ids, pages: list[tuple[Route, str]]
) -> None:
    _, headers = _token(world, world.alice)
    found, program = {}, Client()
    for route, method in pages:
        answer = _ask(program, method, route.url("acme", ids(route)), **headers)
        found[route.pattern, method] = (answer.status_code, answer.headers.get("Location", "").split("?")[0])
    assert _others(found, (302, "/sign-in/")) == {}


def test_a_token_does_nothing_that_is_a_persons_alone(world: World) -> None:
    """Beginning organizations, joining and importing them: below no organization, so no scope could allow it."""
    _, headers = _token(world, world.alice)
    found = {}
    for route in ROUTES:
        if route.pattern in OUTSIDE_OF_ORGANIZATIONS and route.pattern.startswith("api/v1/"):
            for method in route.actions:
                if method == "post":
                    found[route.pattern, method] = _ask(Client(), method, route.url("", {}), **headers).status_code
    assert _others(found, 403) == {}
    _, narrow = _token(world, world.alice, scopes=["bot_view"])
    listed = _ask(Client(), "get", "/api/v1/organizations/", **narrow)
    assert (listed.status_code, listed.json().get("scope")) == (403, "organization_view")


def test_a_member_without_the_demanded_second_factor_is_kept_out_everywhere(
    world: World, ids: Ids, pages: list[tuple[Route, str]]
) -> None:
    """An owner, by session and by token; with a second factor the same two are let in."""
    _, headers = _token(world, world.alice)
    alice, program, found = client_of(world.alice), Client(), {}
    Organization.objects.filter(pk=world.acme.pk).update(demands_mfa=True)
    for route, method in pages:
        answer = _ask(alice, method, route.url("acme", ids(route)))
        found[route.pattern, method] = (answer.status_code, b"second factor" in answer.content)
    for route, method in _api_addresses():
        url = route.url("acme", ids(route))
        answers = [_ask(alice, method, url), _ask(program, method, url, **headers)]
        kinds = {(answer.status_code, answer.json()["type"]) for answer in answers}
        found[route.pattern, method] = (403, kinds == {(403, "/problems/mfa-required")})
    assert _others(found, (403, True)) == {}
    add_authenticator_app(world.alice)
    assert alice.get("/o/acme/").status_code == 200
    assert Client().get("/api/v1/organizations/acme/bots/", headers=headers).status_code == 200


# The operator's panel

NO_SECRETS = {"login", "logout", "jsi18n"}
"""Parts of addresses that show nothing of anybody: signing in and out, and the words of buttons."""


def _operators(world: World, made: Everything) -> list[str]:
    """Every address of the operator's panel, of the rows that there are."""
    kinds = {
        "accounts/user": world.alice.pk,
        "accounts/organization": world.acme.pk,
        "accounts/site": 1,
        "accounts/auditentry": made.line.pk,
        "bots/bot": made.bot.pk,
        "bots/post": made.post.pk,
    }
    found = []
    for route in ROUTES:
        if route.pattern.startswith(OPERATOR):
            kind = "/".join(route.pattern.split("/")[1:3])
            url = route.url("", _Row(kinds.get(kind, 1)))
            found.append(url.replace("(accounts|bots|auth|axes|training)", "accounts"))
    return found


class _Row(dict[str, Any]):
    def __init__(self, pk: Any) -> None:
        super().__init__()
        self.pk = pk

    def __missing__(self, name: str) -> Any:
        return self.pk if name == "object_id" else "1"


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_of_an_organization_gets_into_the_operators_panel(world: World, made: Everything, method: str) -> None:
    _, headers = _token(world, world.alice)
    clients = [(Client(), {}), (client_of(world.alice), {}), (Client(), headers)]
    found = {}
    for url in _operators(world, made):
        if not NO_SECRETS & set(url.split("/")):
            for number, (client, brought) in enumerate(clients):
                answer = _ask(client, method, url, **brought)
                gone = answer.status_code == 302 and answer.headers["Location"].startswith(
                    ("/operator/login/", "/sign-in/")
                )
                found[url, number] = gone or answer.status_code in (403, 404)
    assert _others(found, True) == {}
    assert len(found) > 60


def test_the_operators_panel_asks_staff_for_rights(world: World, made: Everything) -> None:
    """Staff who were given no right see an empty panel, and none of its lists and rows."""
    staff, found = client_of(make_user(is_staff=True)), {}
    for url in _operators(world, made):
        kept = {"", "password_change", "password_change_done", "done", *NO_SECRETS}
        if url.count("/") > 3 and not kept & set(url.strip("/").split("/")[1:]):
            found[url] = _ask(staff, "get", url).status_code in (302, 403, 404)
    assert _others(found, True) == {}
