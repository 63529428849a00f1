"""Organizations: begun, renamed, and secured by a second factor at every door."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import access, organizations
from accounts.models import AuditEntry, Membership, Organization, User
from accounts.roles import Role
from accounts.services import DELETED, create_organization
from accounts.tenancy import tenant
from accounts.tokens import create_token
from tests.factories import World, client_of, make_member, make_user

HOME = "/o/acme/"
SETTINGS = "/o/acme/settings/"
BOTS = "/api/v1/organizations/acme/bots/"


def add_factor(person: User, kind: str = "totp") -> None:
    Authenticator.objects.create(user=person, type=kind, data={})


def demand(world: World) -> None:
    Organization.objects.filter(pk=world.acme.pk).update(demands_mfa=True)


def lines(world: World, action: str) -> list[tuple[str, Any, Any]]:
    with tenant(world.acme.pk):
        return list(AuditEntry.objects.filter(action=action).values_list("actor", "before", "after"))


# Begun


def test_anybody_who_is_signed_in_begins_one_and_owns_it(db: None) -> None:
    erin = make_user("erin@kilroy.example")
    client = client_of(erin)
    assert "/organizations/new/" in client.get("/").content.decode()
    answer = client.post("/organizations/new/", {"name": "Brass & Sons"})
    assert answer.headers["Location"] == "/o/brass-sons/"
    organization = Organization.objects.get(slug="brass-sons")
    with tenant(organization.pk):
        assert Membership.objects.get().role == Role.OWNER
        assert AuditEntry.objects.get(action="organization.create").actor == "erin@kilroy.example"
    assert Client().get("/organizations/new/").status_code == 302


@pytest.mark.parametrize("name", ["", "   ", "x" * 121, "a\0b"])
def test_a_name_that_cannot_be_is_refused(world: World, name: str) -> None:
    alice = client_of(world.alice)
    assert alice.post("/organizations/new/", {"name": name}).status_code == 400
    assert alice.post(f"{SETTINGS}name/", {"name": name}).status_code == 400
    assert Organization.objects.count() == 2


def test_nobody_owns_more_than_a_few(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(organizations, "MOST_OWNED", 1)
    answer = client_of(world.alice).post("/organizations/new/", {"name": "Another"})
    assert (answer.status_code, "which is the most" in answer.content.decode()) == (400, True)
    assert client_of(world.bob).post("/organizations/new/", {"name": "Another"}).status_code == 302


def test_no_organization_looks_like_one_that_is_no_more(db: None) -> None:
    assert not create_organization("Deleted 1234", make_user()).slug.startswith(DELETED)


# Renamed


def test_a_new_name_leaves_the_addresses_as_they_are(world: World) -> None:
    client_of(world.alice).post(f"{SETTINGS}name/", {"name": "Acme & Co"})
    world.acme.refresh_from_db()
    assert (world.acme.name, world.acme.slug) == ("Acme & Co", "acme")
    assert lines(world, "organization.rename") == [("alice@kilroy.example", {"name": "Acme"}, {"name": "Acme & Co"})]
    client_of(world.alice).post(f"{SETTINGS}name/", {"name": "Acme & Co"})
    assert len(lines(world, "organization.rename")) == 1  # nothing changed, nothing to tell


def test_viewers_see_the_settings_without_what_they_cannot_do(world: World) -> None:
    page = client_of(world.bob).get(SETTINGS).content.decode()
    forms = [part.split('"')[0] for part in page.split('action="')[1:]]
    assert [address for address in forms if address.startswith(SETTINGS)] == [f"{SETTINGS}leave/"]
    assert SETTINGS in client_of(world.bob).get(HOME).content.decode()  # the masthead leads there


# A second factor


def test_an_owner_who_has_a_second_factor_can_demand_one(world: World) -> None:
    alice = client_of(world.alice)
    refused = alice.post(f"{SETTINGS}second-factor/", {"demanded": "1"}, follow=True).content.decode()
    assert "Add a second factor to your own account first" in refused
    add_factor(world.alice)
    alice.post(f"{SETTINGS}second-factor/", {"demanded": "1"})
    world.acme.refresh_from_db()
    assert world.acme.demands_mfa
    assert lines(world, "organization.second_factor") == [
        ("alice@kilroy.example", {"demands_mfa": False}, {"demands_mfa": True})
    ]
    alice.post(f"{SETTINGS}second-factor/", {"demanded": "0"})
    world.acme.refresh_from_db()
    assert not world.acme.demands_mfa


def test_an_admin_decides_nothing_about_it(world: World) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    add_factor(admin.user)
    assert client_of(admin.user).post(f"{SETTINGS}second-factor/", {"demanded": "1"}).status_code == 403
    with tenant(world.acme.pk), pytest.raises(PermissionDenied):
        organizations.demand_second_factor(admin, True)


def _doors(world: World) -> dict[str, Any]:
    with tenant(world.acme.pk):
        membership = Membership.objects.get(user=world.bob)
        _, secret = create_token(membership, "Bob's")
    client = client_of(world.bob)
    return {
        "page": lambda: client.get(HOME).status_code,
        "session": lambda: client.get(BOTS).status_code,
        "token": lambda: Client().get(BOTS, headers={"Authorization": f"Bearer {secret}"}).status_code,
    }


@pytest.mark.parametrize("door", ["page", "session", "token"])
def test_every_door_keeps_out_who_has_no_second_factor_and_lets_in_who_has(world: World, door: str) -> None:
    ask = _doors(world)[door]
    assert ask() == 200
    demand(world)
    assert ask() == 403
    add_factor(world.bob, "recovery_codes")  # stand in for one; they are none
    assert ask() == 403
    add_factor(world.bob, "webauthn")
    assert ask() == 200


def test_who_is_kept_out_reads_where_to_add_one(world: World) -> None:
    demand(world)
    bob = client_of(world.bob)
    page = bob.get(HOME)
    assert "/account/second-factor/" in page.content.decode()
    assert "Bots" not in page.content.decode().split("<main")[1]
    problem = bob.get(BOTS).json()
    assert (problem["status"], "/account/second-factor/" in problem["detail"]) == (403, True)
    assert client_of(world.charlie).get(HOME).status_code == 404  # who is no member learns nothing of it


def test_writing_is_kept_out_too(world: World) -> None:
    demand(world)
    assert client_of(world.alice).post(f"{SETTINGS}name/", {"name": "Mine"}).status_code == 403
    world.acme.refresh_from_db()
    assert world.acme.name == "Acme"


@pytest.mark.parametrize(("demanded", "queries"), [(False, 0), (True, 1)])
def test_asking_costs_one_query_where_it_is_demanded_and_none_elsewhere(
    world: World, demanded: bool, queries: int
) -> None:
    if demanded:
        demand(world)
    membership = access.membership_in(world.bob, "acme")
    assert membership is not None
    with CaptureQueriesContext(connection) as asked:
        assert access.lacks_second_factor(membership) == demanded
    assert len(asked) == queries
