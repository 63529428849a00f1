"""Who belongs to an organization: roles given and taken, going, handing over, and never without an owner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from django.test import Client

from accounts import members
from accounts.models import ApiToken, AuditEntry, Invitation, Membership, Organization, User
from accounts.organizations import locked_organization
from accounts.roles import Role
from accounts.tenancy import tenant
from accounts.tokens import create_token
from tests.everything import make_invitation
from tests.factories import World, client_of, make_member, make_organization, make_user

HOME = "/o/acme/"
SETTINGS = "/o/acme/settings/"
MEMBERS = f"{SETTINGS}members/"


def membership(world: World, person: User) -> Membership:
    with tenant(world.acme.pk):
        return Membership.objects.select_related("user", "organization").get(user=person)


def role_of(world: World, person: User) -> str | None:
    with tenant(world.acme.pk):
        return Membership.objects.filter(user=person).values_list("role", flat=True).first()


def lines(world: World, *actions: str) -> list[tuple[str, Any, Any]]:
    with tenant(world.acme.pk):
        found = AuditEntry.objects.filter(action__in=actions).order_by("id")
        return list(found.values_list("actor", "before", "after"))


def post(person: User, path: str, **fields: str) -> Any:
    return client_of(person).post(path, fields)


# Roles


def test_an_owner_gives_any_role_and_the_log_says_what_it_was(world: World) -> None:
    for role in (Role.EDITOR, Role.OWNER, Role.VIEWER):
        post(world.alice, f"{MEMBERS}{world.bob.pk}/role/", role=role)
        assert role_of(world, world.bob) == role
    assert lines(world, "membership.role")[0] == (
        "alice@kilroy.example",
        {"user": "bob@kilroy.example", "role": "viewer"},
        {"user": "bob@kilroy.example", "role": "editor"},
    )


@pytest.mark.parametrize(
    ("actor", "target", "wanted", "allowed"),
    [
        ("admin", "viewer", "admin", True),
        ("admin", "admin", "viewer", True),
        ("admin", "viewer", "owner", False),
        ("admin", "owner", "viewer", False),
        ("owner", "owner", "viewer", True),
        ("editor", "viewer", "moderator", False),
        ("viewer", "viewer", "viewer", False),
    ],
)
def test_nobody_grants_a_role_above_their_own_or_touches_somebody_above(
    world: World, actor: str, target: str, wanted: str, allowed: bool
) -> None:
    by, member = make_member(world.acme, actor), make_member(world.acme, target)
    answer = post(by.user, f"{MEMBERS}{member.user_id}/role/", role=wanted)
    assert (answer.status_code, role_of(world, member.user)) == ((302, wanted) if allowed else (403, target))


def test_an_admin_can_lower_themselves_and_not_come_back(world: World) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    post(admin.user, f"{MEMBERS}{admin.user_id}/role/", role=Role.VIEWER)
    assert post(admin.user, f"{MEMBERS}{admin.user_id}/role/", role=Role.ADMIN).status_code == 403
    assert role_of(world, admin.user) == Role.VIEWER


def test_whoever_was_lowered_a_moment_ago_acts_with_the_role_that_they_have_now(world: World) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    with tenant(world.acme.pk):
        stale = Membership.objects.get(pk=admin.pk)
        Membership.objects.filter(pk=admin.pk).update(role=Role.EDITOR)
        with pytest.raises(PermissionDenied):
            members.change_role(stale, world.bob.pk, Role.EDITOR)


def test_a_role_that_does_not_exist_is_refused(world: World) -> None:
    answer = client_of(world.alice).post(f"{MEMBERS}{world.bob.pk}/role/", {"role": "emperor"}, follow=True)
    assert "Choose one of the roles" in answer.content.decode()
    assert role_of(world, world.bob) == Role.VIEWER


# Going


def test_a_removed_member_loses_pages_api_and_tokens_at_once_and_the_log_remembers(world: World) -> None:
    bob = client_of(world.bob)
    with tenant(world.acme.pk):
        _, secret = create_token(membership(world, world.bob), "Bob's laptop")
    headers = {"Authorization": f"Bearer {secret}"}
    assert Client().get("/api/v1/organizations/acme/bots/", headers=headers).status_code == 200

    post(world.alice, f"{MEMBERS}{world.bob.pk}/remove/")

    assert bob.get(HOME).status_code == 404
    assert Client().get("/api/v1/organizations/acme/bots/", headers=headers).status_code == 401
    with tenant(world.acme.pk):
        assert not ApiToken.objects.filter(name="Bob's laptop").exists()
    [(actor, before, after)] = lines(world, "membership.remove")
    assert (actor, after) == ("alice@kilroy.example", {})
    assert before == {"user": "bob@kilroy.example", "role": "viewer", "tokens": [f"Bob's laptop ({secret[:12]}…)"]}


def test_an_admin_cannot_remove_an_owner(world: World) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    assert post(admin.user, f"{MEMBERS}{world.alice.pk}/remove/").status_code == 403
    assert role_of(world, world.alice) == Role.OWNER


def test_whoever_goes_or_is_lowered_does_not_come_back_by_an_invitation_of_their_own(world: World) -> None:
    removed, lowered = make_member(world.acme, Role.ADMIN), make_member(world.acme, Role.ADMIN)
    with tenant(world.acme.pk):
        theirs = [make_invitation(email=f"{who.pk}@x.example", invited_by=who.user.email) for who in (removed, lowered)]
        others = make_invitation(email="other@x.example")
    post(world.alice, f"{MEMBERS}{removed.user_id}/remove/")
    post(world.alice, f"{MEMBERS}{lowered.user_id}/role/", role=Role.EDITOR)
    with tenant(world.acme.pk):
        open_ones = Invitation.objects.filter(revoked_at=None)
        assert [invitation.pk for invitation in open_ones] == [others.pk]
    assert {before["email"] for _, before, _ in lines(world, "invitation.revoke")} == {each.email for each in theirs}


def test_a_member_leaves(world: World) -> None:
    answer = client_of(world.bob).post(f"{SETTINGS}leave/", follow=True)
    assert "You left Acme" in answer.content.decode()
    assert role_of(world, world.bob) is None
    assert lines(world, "membership.leave")[0][1]["user"] == "bob@kilroy.example"


# The last owner


def _last_owner_tries(world: World) -> dict[str, Callable[[], Any]]:
    me = membership(world, world.alice)
    return {
        "leave": lambda: members.leave(me),
        "lower": lambda: members.change_role(me, world.alice.pk, Role.ADMIN),
        "remove": lambda: members.remove_member(me, world.alice.pk),
    }


@pytest.mark.parametrize("way", ["leave", "lower", "remove"])
def test_the_last_owner_stays(world: World, way: str) -> None:
    gone = make_member(world.acme, Role.OWNER)
    User.objects.filter(pk=gone.user_id).update(is_active=False)  # one who cannot sign in does not count
    with tenant(world.acme.pk), pytest.raises(ValidationError, match="needs an owner"):
        _last_owner_tries(world)[way]()
    assert role_of(world, world.alice) == Role.OWNER


@pytest.mark.parametrize("way", ["leave", "lower", "remove"])
def test_one_of_two_owners_may_go(world: World, way: str) -> None:
    make_member(world.acme, Role.OWNER)
    with tenant(world.acme.pk):
        _last_owner_tries(world)[way]()
    assert role_of(world, world.alice) != Role.OWNER


def test_the_page_tells_the_last_owner_what_to_do_first(world: World) -> None:
    answer = client_of(world.alice).post(f"{SETTINGS}leave/", follow=True)
    assert "make another member owner first" in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_of_two_owners_who_go_at_the_same_moment_one_stays() -> None:
    """Two connections, in two threads: one owner leaves while the other one lowers their own role."""
    alice, dora = make_user(), make_user()
    acme = make_organization("Acme", alice)
    make_member(acme, Role.OWNER, dora)
    refused: list[str] = []

    def go(person: User, verb: Callable[[Membership], Any]) -> None:
        with tenant(acme.pk):
            try:
                verb(Membership.objects.select_related("user").get(user=person))
            except ValidationError as error:
                refused.extend(error.messages)
        connection.close()

    threads = [
        threading.Thread(target=go, args=(alice, members.leave)),
        threading.Thread(target=go, args=(dora, lambda me: members.change_role(me, me.user_id, Role.ADMIN))),
    ]
    with transaction.atomic():  # hold both at the lock, so that they meet there
        locked_organization(acme.pk)
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while _waiting_for_locks() < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert _waiting_for_locks() == 2
    for thread in threads:
        thread.join(10)
    with tenant(acme.pk):
        assert Membership.objects.filter(role=Role.OWNER).count() == 1
    assert refused == [members.LAST_OWNER]
    assert Organization.objects.filter(pk=acme.pk).exists()


def _waiting_for_locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE NOT granted AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])


# Handing over


def test_an_owner_hands_over_and_is_an_admin_from_then_on(world: World) -> None:
    post(world.alice, f"{MEMBERS}{world.bob.pk}/transfer/")
    assert (role_of(world, world.alice), role_of(world, world.bob)) == (Role.ADMIN, Role.OWNER)
    assert [(before["role"], after["role"]) for _, before, after in lines(world, "membership.role")] == [
        ("viewer", "owner"),
        ("owner", "admin"),
    ]


def test_only_owners_hand_over_and_only_to_somebody_else_who_can_sign_in(world: World) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    assert post(admin.user, f"{MEMBERS}{world.bob.pk}/transfer/").status_code == 403
    with tenant(world.acme.pk):
        me = membership(world, world.alice)
        with pytest.raises(ValidationError, match="somebody else"):
            members.transfer_ownership(me, world.alice.pk)
        User.objects.filter(pk=world.bob.pk).update(is_active=False)
        with pytest.raises(ValidationError, match="cannot sign in"):
            members.transfer_ownership(me, world.bob.pk)
    assert role_of(world, world.alice) == Role.OWNER


def test_somebody_of_another_organization_is_nobody_here(world: World) -> None:
    for verb in ("role", "remove", "transfer"):
        answer = post(world.alice, f"{MEMBERS}{world.charlie.pk}/{verb}/", role="viewer")
        assert answer.status_code == 404, verb


# The page


def test_the_page_offers_each_role_what_it_may_do(world: World) -> None:
    admin = make_member(world.acme, Role.ADMIN)
    owners = client_of(world.alice).get(MEMBERS).content.decode()
    admins = client_of(admin.user).get(MEMBERS).content.decode()
    viewers = client_of(world.bob).get(MEMBERS).content.decode()
    remove_alice, remove_bob = (f"{MEMBERS}{person.pk}/remove/" for person in (world.alice, world.bob))
    assert (remove_bob in owners, f"{MEMBERS}{world.bob.pk}/transfer/" in owners) == (True, True)
    assert (remove_bob in admins, remove_alice in admins, "transfer/" in admins) == (True, False, False)
    assert '<option value="owner"' not in admins
    assert ("<form" in viewers.split("<main")[1], "alice@kilroy.example" in viewers) == (False, True)
