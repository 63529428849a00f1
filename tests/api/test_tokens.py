"""Tokens over the API and on their page: scopes, ends, rotation, and what a token cannot give."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiToken, AuditEntry, Membership, User
from accounts.roles import EVERY_PERMISSION, PERMISSIONS, Role
from accounts.tenancy import tenant
from accounts.tokens import create_token
from tests.api.client import BASE, Api
from tests.everything import Everything
from tests.factories import World, client_of, make_member, make_user
from tests.routes import API, ids_of

PAGE = "/o/acme/settings/tokens/"


class Program:
    """A program with a token, at the API of Acme."""

    def __init__(self, world: World, user: User, **token: Any) -> None:
        with tenant(world.acme.pk):
            self.token, self.secret = create_token(Membership.objects.get(user=user), "A program", **token)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.secret}"}
        return getattr(Client(), method)(BASE + path, body, content_type="application/json", headers=headers)


def ask(method: str, url: str, secret: str) -> Any:
    with transaction.atomic():
        answer = getattr(Client(), method)(url, headers={"Authorization": f"Bearer {secret}"})
        transaction.set_rollback(True)
    return answer


# Scopes


def test_a_token_opens_what_its_scopes_name_and_nothing_else(world: World, made: Everything) -> None:
    """Every action, by a token that has all scopes but the one that it takes; and one that takes it, by one that has
    only that.
    """
    secrets: dict[tuple[str, bool], str] = {}
    for permission in EVERY_PERMISSION:
        for only in (True, False):
            scopes = {permission} if only else EVERY_PERMISSION - {permission}
            secrets[permission, only] = Program(world, world.alice, scopes=scopes).secret
    found = {}
    for route in API:
        for method in route.actions:
            if method == "head":
                continue
            permission, url = str(route.permission(method)), route.url("acme", ids_of(made, route))
            without = ask(method, url, secrets[permission, False])
            missing = without.json() if without.status_code == 403 else {}
            only = secrets.pop((permission, True), None)
            enough = only is None or ask(method, url, only).status_code != 403
            named = missing.get("scope") == permission and permission in missing["detail"]
            found[route.pattern, method] = (without.status_code, missing.get("type"), named, enough)
    expected = (403, "/problems/missing-scope", True, True)
    assert {where: what for where, what in found.items() if what != expected} == {}
    assert len(found) > 100


def test_what_an_action_asks_besides_is_a_matter_of_scopes_too(world: World, made: Everything) -> None:
    body = {"text": "One more post that nobody has read", "approve": True}
    path = f"queue/{made.bot.pk}/import/"
    assert Program(world, world.alice, scopes=["post_write"])("post", path, body).status_code == 403
    assert Program(world, world.alice, scopes=["post_write", "post_approve"])("post", path, body).status_code == 201


def test_a_role_that_shrinks_takes_scopes_along(world: World) -> None:
    program = Program(world, world.alice, scopes=["bot_view", "bot_edit"])
    assert program("post", "bots/", {}).status_code == 400
    with tenant(world.acme.pk):
        Membership.objects.filter(user=world.alice).update(role=Role.VIEWER)
    refused = program("post", "bots/", {})
    assert (refused.status_code, refused.json()["type"]) == (403, "about:blank")
    assert "Viewer" in refused.json()["detail"]
    assert program("get", "bots/").status_code == 200


# Making, seeing, ending


def test_a_token_is_made_shown_once_and_used(world: World, api: Api) -> None:
    end = timezone.now() + timedelta(days=2)
    given = {"name": " Nightly ", "scopes": ["bot_view", "bot_view"], "expires_at": end.isoformat()}
    status, body, lines = api("post", "tokens/", given)
    assert (status, lines) == (201, ["token.create"])
    assert (body["name"], body["scopes"], body["person"]) == ("Nightly", ["bot_view"], "alice@kilroy.example")
    assert datetime.fromisoformat(body["expires_at"]) == end
    assert (body["secret"].startswith("klr_"), len(body["secret"])) == (True, len("klr_") + 43)
    status, shown, _ = api("get", f"tokens/{body['id']}/")
    assert shown == {name: value for name, value in body.items() if name != "secret"}
    assert ask("get", BASE + "bots/", body["secret"]).status_code == 200
    assert ask("get", BASE + "posts/", body["secret"]).status_code == 403
    with tenant(world.acme.pk):
        line = AuditEntry.objects.get(action="token.create")
    assert line.after["scopes"] == ["bot_view"]
    assert body["secret"] not in str(line.after)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["fly"]}, "scopes"),
        ({"scopes": "bot_view"}, "scopes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
    ],
)
def test_a_token_that_cannot_be_is_refused(api: Api, change: dict[str, Any], field: str) -> None:
    status, body, lines = api("post", "tokens/", {"name": "Nightly"} | change)
    assert (status, list(body["errors"]), lines) == (400, [field], [])


def test_nobody_gives_scopes_that_the_role_does_not_have(world: World) -> None:
    admin = make_user()
    make_member(world.acme, Role.ADMIN, admin)
    answer = client_of(admin).post(
        BASE + "tokens/", {"name": "x", "scopes": ["organization_delete"]}, content_type="application/json"
    )
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["scopes"])


def test_admins_see_and_revoke_all_tokens_and_rotate_their_own(world: World, api: Api) -> None:
    bobs = Program(world, world.bob)
    assert bobs.token.prefix in [row["prefix"] for row in api("get", "tokens/")[1]["results"]]
    assert api("post", f"tokens/{bobs.token.pk}/rotate/")[0] == 403
    assert bobs("get", "bots/").status_code == 200
    status, body, lines = api("post", f"tokens/{bobs.token.pk}/revoke/")
    assert (status, body["revoked_at"] is not None, lines) == (200, True, ["token.revoke"])
    assert bobs("get", "bots/").status_code == 401
    assert api("post", f"tokens/{bobs.token.pk}/revoke/")[2] == []


def test_a_rotated_token_has_a_new_secret_and_the_old_one_opens_nothing(world: World, api: Api) -> None:
    program = Program(world, world.alice, scopes=["bot_view"])
    status, body, lines = api("post", f"tokens/{program.token.pk}/rotate/")
    assert (status, body["id"], body["scopes"], lines) == (200, str(program.token.pk), ["bot_view"], ["token.rotate"])
    assert program("get", "bots/").status_code == 401
    assert ask("get", BASE + "bots/", body["secret"]).status_code == 200
    with tenant(world.acme.pk):
        ApiToken.objects.update(expires_at=timezone.now())
    assert api("post", f"tokens/{program.token.pk}/rotate/")[0] == 400


def test_a_token_makes_none_that_can_more_than_itself(world: World) -> None:
    end = timezone.now() + timedelta(days=2)
    maker = Program(world, world.alice, scopes=["token_manage", "bot_view"], expires_at=end)
    heir = maker("post", "tokens/", {"name": "Heir"}).json()
    assert heir["scopes"] == ["bot_view", "token_manage"]
    assert datetime.fromisoformat(heir["expires_at"]) == end
    more = maker("post", "tokens/", {"name": "More", "scopes": ["bot_view", "bot_edit"]})
    assert (more.status_code, "bot_edit" in more.json()["detail"]) == (403, True)
    longer = maker("post", "tokens/", {"name": "x", "expires_at": (end + timedelta(days=1)).isoformat()})
    assert (longer.status_code, "outlives" in longer.json()["detail"]) == (403, True)
    strong = Program(world, world.alice)
    assert maker("post", f"tokens/{strong.token.pk}/rotate/").status_code == 403
    assert strong("get", "bots/").status_code == 200
    assert maker("post", f"tokens/{maker.token.pk}/rotate/").status_code == 200


def test_the_last_use_is_written_once_a_minute(world: World) -> None:
    program = Program(world, world.alice)

    def writes() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert program("get", "bots/").status_code == 200
        return sum('UPDATE "accounts_apitoken"' in query["sql"] for query in queries)

    assert [writes() for _ in range(3)] == [1, 0, 0]
    with tenant(world.acme.pk):
        ApiToken.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    assert writes() == 1


def test_the_version_of_a_token_does_not_change_by_using_it(world: World, api: Api) -> None:
    program = Program(world, world.alice)
    path = f"{BASE}tokens/{program.token.pk}/"
    before = api.client.get(path)
    program("get", "bots/")
    after = api.client.get(path)
    assert before.json() != after.json()
    assert before.headers["ETag"] == after.headers["ETag"]


# The page


@pytest.mark.parametrize(
    ("access", "scopes", "expected"),
    [
        ("read", [], sorted(name for name in PERMISSIONS[Role.OWNER] if name.endswith("_view"))),
        ("all", ["bot_view"], None),
        ("chosen", ["bot_view", "bot_edit"], ["bot_edit", "bot_view"]),
    ],
)
def test_the_page_makes_a_token_and_shows_its_secret_once(
    world: World, access: str, scopes: list[str], expected: list[str] | None
) -> None:
    alice = client_of(world.alice)
    page = alice.post(PAGE, {"name": "Nightly", "days": "30", "access": access, "scopes": scopes})
    with tenant(world.acme.pk):
        token = ApiToken.objects.get()
    assert (page.status_code, token.scopes, page.headers["Cache-Control"]) == (200, expected, "no-store")
    secret = page.content.decode().split("klr_", 1)[1].split("<", 1)[0]
    assert ask("get", BASE + "bots/", f"klr_{secret}").status_code == 200
    assert abs(token.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert secret not in alice.get(PAGE).content.decode()
    rotated = alice.post(f"{PAGE}{token.pk}/rotate/")
    assert (rotated.status_code, b"klr_" in rotated.content) == (200, True)
    assert ask("get", BASE + "bots/", f"klr_{secret}").status_code == 401
    assert alice.post(f"{PAGE}{token.pk}/revoke/").status_code == 302
    with tenant(world.acme.pk):
        assert ApiToken.objects.get().revoked_at is not None
    assert f"{token.pk}/revoke/" not in alice.get(PAGE).content.decode()


def test_the_page_refuses_a_choice_of_nothing(world: World) -> None:
    page = client_of(world.alice).post(PAGE, {"name": "x", "days": "30", "access": "chosen"})
    assert (page.status_code, b"Choose at least one permission" in page.content) == (400, True)
    with tenant(world.acme.pk):
        assert not ApiToken.objects.exists()


def test_tokens_of_others_are_shown_without_a_way_to_their_secret(world: World) -> None:
    bobs = Program(world, world.bob)
    alice = client_of(world.alice)
    html = alice.get(PAGE).content.decode()
    assert (f"{bobs.token.pk}/revoke/" in html, f"{bobs.token.pk}/rotate/" in html) == (True, False)
    assert alice.post(f"{PAGE}{bobs.token.pk}/rotate/").status_code == 302
    assert bobs("get", "bots/").status_code == 200


def test_the_kinds_of_problems_have_pages(db: None) -> None:
    index = Client().get("/problems/").content.decode()
    for kind in ("throttled", "missing-scope", "mfa-required", "quota-exceeded", "idempotency-key-reused"):
        assert f"/problems/{kind}" in index
        assert Client().get(f"/problems/{kind}").status_code == 200
    assert "<code>Idempotency-Key</code>" in index
    assert "`" not in index
    assert Client().get("/problems/nothing").status_code == 404
