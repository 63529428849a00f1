"""Organizations, members and invitations over the API."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core import mail
from django.test import Client

from accounts.models import Membership, Organization
from accounts.roles import Role
from accounts.tenancy import tenant
from accounts.tokens import create_token
from tests.api.client import BASE, Api
from tests.everything import make_invitation
from tests.factories import World, client_of, make_member, make_user

ROOT = "/api/v1/organizations/"
ACCEPT = "/api/v1/invitations/accept/"
JSON = "application/json"


@pytest.fixture
def token(world: World) -> dict[str, str]:
    """Alice's token of Acme, as headers."""
    with tenant(world.acme.pk):
        _, secret = create_token(Membership.objects.get(user=world.alice), "Alice's")
    return {"Authorization": f"Bearer {secret}"}


# Organizations


def test_one_lists_ones_own_and_begins_another(world: World) -> None:
    make_member(world.globex, Role.VIEWER, world.alice)
    alice = client_of(world.alice)
    rows = alice.get(ROOT).json()["results"]
    assert {(row["slug"], row["role"]) for row in rows} == {("acme", "owner"), ("globex", "viewer")}
    answer = alice.post(ROOT, {"name": "Initech"}, content_type=JSON)
    assert (answer.status_code, answer.json()["slug"], answer.json()["role"]) == (201, "initech", "owner")
    assert alice.get(f"{ROOT}initech/").json() == answer.json()
    assert alice.post(ROOT, {"name": " "}, content_type=JSON).json()["errors"].keys() == {"name"}
    assert Client().get(ROOT).status_code == 401


def test_a_token_sees_its_organization_alone_and_begins_none(world: World, token: dict[str, str]) -> None:
    make_member(world.globex, Role.VIEWER, world.alice)
    program = Client()
    assert [row["slug"] for row in program.get(ROOT, headers=token).json()["results"]] == ["acme"]
    for path, body in ((ROOT, {"name": "Initech"}), (ACCEPT, {"secret": "x"})):
        answer = program.post(path, body, content_type=JSON, headers=token)
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")
        assert "bound to its organization" in answer.json()["detail"]


def test_it_is_shown_renamed_paused_and_resumed(api: Api) -> None:
    shown = api("get", "")[1]
    assert (shown["name"], shown["slug"], shown["role"], shown["demands_mfa"]) == ("Acme", "acme", "owner", False)
    status, body, lines = api("patch", "", {"name": "Acme & Co"})
    assert (status, body["name"], body["slug"], lines) == (200, "Acme & Co", "acme", ["organization.rename"])
    status, body, lines = api("post", "pause/")
    assert (status, body["paused_at"] is not None, lines) == (200, True, ["organization.pause"])
    status, body, lines = api("post", "resume/")
    assert (status, body["paused_at"], lines) == (200, None, ["organization.resume"])


def test_a_change_of_what_somebody_else_changed_is_refused(world: World, api: Api) -> None:
    alice = client_of(world.alice)
    tag = alice.get(BASE).headers["ETag"]
    api("patch", "", {"name": "First"})
    answer = alice.patch(BASE, {"name": "Second"}, content_type=JSON, headers={"If-Match": tag})
    assert (answer.status_code, api("get", "")[1]["name"]) == (412, "First")


def test_a_second_factor_is_demanded_by_an_owner_who_has_one(world: World, api: Api) -> None:
    status, body, lines = api("patch", "", {"demands_mfa": True})
    assert (status, list(body["errors"]), lines) == (400, ["demands_mfa"], [])
    Authenticator.objects.create(user=world.alice, type="totp", data={})
    status, body, lines = api("patch", "", {"demands_mfa": True})
    assert (status, body["demands_mfa"], lines) == (200, True, ["organization.second_factor"])
    admin = make_member(world.acme, Role.ADMIN)
    Authenticator.objects.create(user=admin.user, type="totp", data={})
    answer = client_of(admin.user).patch(BASE, {"demands_mfa": False}, content_type=JSON)
    assert answer.status_code == 403


def test_it_is_deleted_in_two_steps(api: Api) -> None:
    status, body, lines = api("delete", "")
    assert (status, lines) == (202, ["organization.delete"])
    assert body["paused_at"] == body["deletion_requested_at"] < body["deletes_at"]
    assert api("post", "bots/", {"name": "x"})[0] == 409
    status, body, lines = api("post", "undo-deletion/")
    assert (status, body["deletes_at"], lines) == (200, None, ["organization.undelete"])
    assert api("post", "undo-deletion/")[0] == 400


def test_it_is_handed_over_and_left(world: World, api: Api) -> None:
    assert api("post", "leave/")[0] == 400
    assert api("post", "transfer/", {"member": str(world.charlie.pk)})[1]["errors"].keys() == {"member"}
    status, body, _ = api("post", "transfer/", {"member": str(world.bob.pk)})
    assert (status, body["role"]) == (200, "admin")
    status, _, lines = api("post", "leave/")
    assert (status, lines) == (204, ["membership.leave"])
    assert api("get", "")[0] == 404


# Members


def test_members_are_listed_changed_and_removed(world: World, api: Api) -> None:
    rows = api("get", "members/")[1]["results"]
    assert {(row["email"], row["role"]) for row in rows} == {
        ("alice@kilroy.example", "owner"),
        ("bob@kilroy.example", "viewer"),
    }
    bob = f"members/{world.bob.pk}/"
    assert api("get", bob)[1]["id"] == str(world.bob.pk)
    status, body, lines = api("patch", bob, {"role": "editor"})
    assert (status, body["role"], lines) == (200, "editor", ["membership.role"])
    assert [row["email"] for row in api("get", "members/?role=editor")[1]["results"]] == ["bob@kilroy.example"]
    assert api("delete", bob)[::2] == (204, ["membership.remove"])
    assert api("get", bob)[0] == 404


@pytest.mark.parametrize(("body", "status"), [({}, 400), ({"role": "emperor"}, 400), ({"role": "admin"}, 400)])
def test_a_change_that_cannot_be_is_refused(world: World, api: Api, body: dict[str, str], status: int) -> None:
    """The third: the last owner cannot lower their own role."""
    assert api("patch", f"members/{world.alice.pk}/", body)[::2] == (status, [])
    assert api("get", "")[1]["role"] == "owner"


def test_an_admins_token_touches_no_owner(world: World) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    with tenant(world.acme.pk):
        _, secret = create_token(admin, "Admin's")
    headers = {"Authorization": f"Bearer {secret}"}
    for method, body in (("patch", {"role": "viewer"}), ("delete", None)):
        answer = getattr(Client(), method)(f"{BASE}members/{world.alice.pk}/", body, content_type=JSON, headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")


# Invitations


def test_somebody_is_invited_and_accepts(world: World, api: Api, django_capture_on_commit_callbacks: Any) -> None:
    dora = make_user("dora@kilroy.example")
    with django_capture_on_commit_callbacks(execute=True):
        status, body, lines = api("post", "invitations/", {"email": dora.email, "role": "editor"})
    assert (status, body["state"], body["invited_by"], lines) == (
        201,
        "open",
        "alice@kilroy.example",
        ["invitation.create"],
    )
    found = re.search(r"/invitations/(\S+)/", str(mail.outbox[0].body))
    assert found
    assert found[1] not in str(body)
    client = client_of(dora)
    answer = client.post(ACCEPT, {"secret": found[1]}, content_type=JSON)
    assert (answer.status_code, answer.json()["slug"], answer.json()["role"]) == (201, "acme", "editor")
    assert api("get", f"invitations/{body['id']}/")[1]["state"] == "accepted"
    again = client.post(ACCEPT, {"secret": found[1]}, content_type=JSON)
    assert (again.status_code, again.json()["detail"]) == (400, "This invitation was accepted already.")
    assert client.post(ACCEPT, {"secret": "nonsense"}, content_type=JSON).json()["errors"].keys() == {"secret"}


def test_an_invitation_is_for_one_address(world: World, api: Api, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        api("post", "invitations/", {"email": "dora@kilroy.example", "role": "editor"})
    found = re.search(r"/invitations/(\S+)/", str(mail.outbox[0].body))
    assert found
    answer = client_of(world.charlie).post(ACCEPT, {"secret": found[1]}, content_type=JSON)
    assert (answer.status_code, "sign in with that address" in answer.json()["detail"]) == (403, True)


def test_invitations_are_listed_sent_again_and_revoked(world: World, api: Api) -> None:
    with tenant(world.acme.pk):
        invitation = make_invitation()
    assert [row["id"] for row in api("get", "invitations/")[1]["results"]] == [str(invitation.pk)]
    url = f"invitations/{invitation.pk}/"
    status, body, lines = api("post", f"{url}resend/")
    assert (status, body["id"], lines) == (200, str(invitation.pk), ["invitation.renew"])
    status, body, lines = api("post", f"{url}revoke/")
    assert (status, body["state"], lines) == (200, "revoked", ["invitation.revoke"])
    assert api("post", f"{url}resend/")[0] == 400


@pytest.mark.parametrize(
    "body", [{}, {"email": "no address", "role": "viewer"}, {"email": "d@x.example", "role": "emperor"}]
)
def test_an_invitation_that_cannot_be_is_refused(api: Api, body: dict[str, str]) -> None:
    assert api("post", "invitations/", body)[::2] == (400, [])


def test_nothing_of_it_reaches_another_organization(world: World, api: Api) -> None:
    with tenant(world.globex.pk):
        theirs = make_invitation()
    assert api("post", f"invitations/{theirs.pk}/revoke/")[0] == 404
    assert api("patch", f"members/{world.charlie.pk}/", {"role": "viewer"})[0] == 404
    assert Organization.objects.get(pk=world.globex.pk).name == "Globex"
