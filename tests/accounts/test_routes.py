"""Who gets in where: every address of the site, walked as nobody, as a stranger, as a viewer."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.contrib.admin.sites import AdminSite
from django.db import transaction
from django.test import Client

from accounts.api import OrganizationViewSet
from accounts.models import Membership
from accounts.roles import EVERY_PERMISSION, PERMISSIONS, Role
from accounts.tenancy import tenant
from accounts.tokens import create_token
from tests.everything import Everything, make_everything
from tests.factories import World, client_of
from tests.routes import API, INSIDE, PAGES, ROUTES, Route, ids_of

OUTSIDE_OF_ORGANIZATIONS = {
    "healthz",
    "favicon.ico",
    "api/schema/",
    "api/docs/",
    "",
    "sign-in/",
    "sign-in/<str:uid>/<str:token>/",
    "sign-out/",
    "connect/callback/",
    "organizations/new/",
    "organizations/import/",
    "exports/<str:signed>/",
    "unsubscribe/<str:token>/",
    "invitations/",
    "problems/",
    "report/",
    "problems/<slug:kind>",
    "invitations/<str:secret>/",
    "share/<str:signed>/",
    "share/<str:signed>/card.png",
    "api/v1/imports/",
    "api/v1/organizations/",
    "api/v1/invitations/accept/",
}
"""Every address that is not below an organization's: whoever adds one says here that it needs no tenant."""
OPERATOR = "operator/"
OWN_ACCOUNT = "account/"
"""A person's own pages, whatever organization they are in."""
OPEN_TO_ALL = {
    *("account/signup/", "account/inactive/", "account/password/reset/", "account/password/reset/done/"),
    *("account/password/reset/key/done/", "account/password/reset/key/<uidb36>-<key>/", "account/confirm-email/"),
    *("account/confirm-email/<key>/", "account/sso/login/cancelled/", "account/sso/login/error/"),
}
"""Those that whoever cannot sign in needs."""
MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def made(world: World) -> Everything:
    with tenant(world.acme.pk):
        return make_everything()


def test_every_address_is_below_an_organization_or_deliberately_not() -> None:
    outside = {route.pattern for route in ROUTES if route not in INSIDE}
    assert {
        pattern for pattern in outside if not pattern.startswith((OPERATOR, OWN_ACCOUNT))
    } == OUTSIDE_OF_ORGANIZATIONS
    assert len(PAGES) + len(API) == len(INSIDE)
    assert (len(PAGES) > 30, len(API) > 25) == (True, True)


def test_every_page_and_every_action_names_a_permission_that_exists() -> None:
    for route in PAGES:
        assert route.view.permission in EVERY_PERMISSION, route.pattern
    for route in API:
        assert issubclass(route.view.cls, OrganizationViewSet), route.pattern
        for method in route.actions:
            assert route.permission(method) in EVERY_PERMISSION, (route.pattern, method)


def test_a_reading_permission_is_never_enough_to_change_anything_over_the_api() -> None:
    allowed = {
        (route.pattern.split("/")[4], action)
        for route in API
        for method, action in route.actions.items()
        if method not in ("get", "head") and route.permission(method) in PERMISSIONS[Role.VIEWER]
    }
    own = {("notifications", "read"), ("notifications", "read_all"), ("notification-choices", "partial_update")}
    # What changes nothing but one's own place and what one is told, and what anybody outside may say, too.
    assert allowed == {("leave", "leave"), *own, ("posts", "report")}


def test_the_operators_pages_are_for_operators_only(world: World) -> None:
    assert isinstance(next(r.view.admin_site for r in ROUTES if r.pattern == OPERATOR), AdminSite)
    for client in (Client(), client_of(world.alice)):
        for route in ROUTES:
            if route.pattern.startswith(OPERATOR) and "<" not in route.pattern:
                answer = client.get("/" + route.pattern)
                inside = answer.status_code == 200 and "login" not in route.pattern and "jsi18n" not in route.pattern
                assert not inside, route.pattern


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_persons_own_pages_want_to_know_who_it_is(db: None, method: str) -> None:
    found, ids = {}, {"uidb36": "1", "key": "x", "pk": 1, "provider_id": "sso"}
    for route in ROUTES:
        if route.pattern.startswith(OWN_ACCOUNT) and route.pattern not in OPEN_TO_ALL:
            answer = _ask(Client(), method, route.url("", ids))
            goes = answer.headers.get("Location", "").split("?")[0]
            found[route.pattern] = goes in SIGN_IN_OR_ON or answer.status_code in (404, 405)
    assert _others(found, True) == {}
    for pattern in OPEN_TO_ALL:
        route = next(route for route in ROUTES if route.pattern == pattern)
        assert _ask(Client(), method, route.url("", ids)).status_code < 500, pattern


SIGN_IN_OR_ON = {"/sign-in/", "/account/second-factor/"}
"""The second is where `account/` leads, which asks then."""


def _ask(client: Client, method: str, url: str, **headers: str) -> Any:
    """Ask, and undo what it changed: every question meets the same world."""
    with transaction.atomic():
        answer = getattr(client, method)(url, headers=headers or None)
        transaction.set_rollback(True)
    return answer


def _others(found: dict[tuple[str, str], Any], expected: Any) -> dict[tuple[str, str], Any]:
    """Which of the addresses, of which there must be some, do not behave as expected."""
    assert found
    return {where: what for where, what in found.items() if what != expected}


@pytest.fixture
def page_addresses(world: World, made: Everything) -> list[tuple[Route, str]]:
    """Every page with the methods that it has."""
    alice, addresses = client_of(world.alice), []
    for route in PAGES:
        if alice.get(route.url("acme", ids_of(made, route))).status_code != 405:
            addresses.append((route, "get"))
        addresses.append((route, "post"))
    return addresses


def test_pages_send_nobody_to_the_sign_in(
    world: World, made: Everything, page_addresses: list[tuple[Route, str]]
) -> None:
    found = {}
    for route, method in page_addresses:
        answer = _ask(Client(), method, route.url("acme", ids_of(made, route)))
        found[route.pattern, method] = (answer.status_code, answer.headers.get("Location", "").split("?")[0])
    assert _others(found, (302, "/sign-in/")) == {}


def test_pages_of_another_organization_are_as_missing_as_those_that_never_were(
    world: World, made: Everything, page_addresses: list[tuple[Route, str]]
) -> None:
    """The stranger asks by the organization's slug, by one that does not exist, and for its rows by his own slug."""
    charlie, found = client_of(world.charlie), {}
    for route, method in page_addresses:
        ids = ids_of(made, route)
        pairs = [(route.url("acme", ids), route.url("no-such-place", ids))]
        if "_id>" in route.pattern:
            pairs.append((route.url("globex", ids), route.url("globex", dict.fromkeys(ids, MISSING))))
        answers = [[_ask(charlie, method, url) for url in pair] for pair in pairs]
        statuses = {answer.status_code for pair in answers for answer in pair}
        alike = all(_without_nonce(theirs) == _without_nonce(missing) for theirs, missing in answers)
        found[route.pattern, method] = (statuses, alike)
    assert _others(found, ({404}, True)) == {}


def test_a_viewer_may_open_what_viewers_may_and_nothing_else(
    world: World, made: Everything, page_addresses: list[tuple[Route, str]]
) -> None:
    bob, found = client_of(world.bob), {}
    for route, method in page_addresses:
        answer = _ask(bob, method, route.url("acme", ids_of(made, route)))
        may = route.permission(method) in PERMISSIONS[Role.VIEWER]
        if (route.pattern, method) not in WRITES_ON_A_READING_PAGE:
            found[route.pattern, method] = (answer.status_code == 403, answer.status_code < 500) == (not may, True)
    assert _others(found, True) == {}
    for pattern, method in WRITES_ON_A_READING_PAGE:
        route = next(route for route in PAGES if route.pattern == pattern)
        assert _ask(bob, method, route.url("acme", ids_of(made, route))).status_code == 403


WRITES_ON_A_READING_PAGE = {("o/<slug:slug>/bots/<uuid:bot_id>/schedule/", "post")}
"""Pages that show a form's present values to those who may not send it."""


def _without_nonce(answer: Any) -> bytes:
    body = re.sub(rb'nonce="[^"]*"', b"", answer.content)
    return re.sub(rb'(name="csrf-token" content=|name="csrfmiddlewaretoken" value=)"[^"]*"', b"", body)


def _api_addresses() -> list[tuple[Route, str]]:
    return [(route, method) for route in API for method in route.actions if method != "head"]


def test_the_api_wants_a_name(world: World, made: Everything) -> None:
    found = {}
    for route, method in _api_addresses():
        answer = _ask(Client(), method, route.url("acme", ids_of(made, route)))
        found[route.pattern, method] = (answer.status_code, answer.headers["Content-Type"])
    assert _others(found, (401, "application/problem+json")) == {}


def test_another_organization_is_as_missing_in_the_api_as_one_that_never_was(world: World, made: Everything) -> None:
    with tenant(world.globex.pk):
        _, token = create_token(Membership.objects.get(user=world.charlie), "Charlie's")
    charlie, found = client_of(world.charlie), {}
    for route, method in _api_addresses():
        ids = ids_of(made, route)
        groups = [
            [
                _ask(charlie, method, route.url("acme", ids)),
                _ask(charlie, method, route.url("no-such-place", ids)),
                _ask(Client(), method, route.url("acme", ids), Authorization=f"Bearer {token}"),
            ]
        ]
        if "<pk>" in route.pattern and "notification-choices" not in route.pattern:  # whose ids are names of kinds
            missing = MISSING if isinstance(ids["pk"], uuid.UUID) else 999_999_999
            asked = (ids["pk"], missing, "not-an-id")
            groups.append([_ask(charlie, method, route.url("globex", {"pk": pk})) for pk in asked])
        statuses = {answer.status_code for group in groups for answer in group}
        alike = all(len({answer.content for answer in group}) == 1 for group in groups)
        found[route.pattern, method] = (statuses, alike)
    assert _others(found, ({404}, True)) == {}


def test_a_viewer_may_do_over_the_api_what_viewers_may_and_nothing_else(world: World, made: Everything) -> None:
    bob, found = client_of(world.bob), {}
    for route, method in _api_addresses():
        answer = _ask(bob, method, route.url("acme", ids_of(made, route)))
        may = route.permission(method) in PERMISSIONS[Role.VIEWER]
        found[route.pattern, method] = (answer.status_code == 403, answer.status_code < 500) == (not may, True)
    assert _others(found, True) == {}


def test_methods_that_an_address_does_not_have_are_refused(world: World, made: Everything) -> None:
    clients, found = (client_of(world.alice), client_of(world.charlie), Client()), {}
    for route in API:
        here = route.url("acme", ids_of(made, route))
        for method in ("options", "put"):
            found[route.pattern, method] = [_ask(client, method, here).status_code for client in clients]
    assert _others(found, [405, 404, 401]) == {}
