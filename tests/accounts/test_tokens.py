"""API tokens: shown once, stored as a hash, bound to a membership, ended at will."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import ApiToken, Membership, User
from accounts.tenancy import tenant
from accounts.tokens import create_token, find_token, revoke_token
from tests.factories import World, make_bot

BOTS = "/api/v1/organizations/{}/bots/"


def _token(world: World, user: User, **fields: Any) -> tuple[ApiToken, str]:
    with tenant(world.acme.pk):
        return create_token(Membership.objects.get(user=user), "My script", **fields)


def _get(secret: str, slug: str = "acme", header: str = "Bearer {}") -> Any:
    return Client().get(BOTS.format(slug), headers={"Authorization": header.format(secret)})


def test_a_token_opens_its_organization_and_is_marked_as_used(world: World) -> None:
    row, secret = _token(world, world.alice)
    assert _get(secret).status_code == 200
    with tenant(world.acme.pk):
        assert ApiToken.objects.get(pk=row.pk).last_used_at is not None


def test_the_secret_is_nowhere_in_the_database(world: World) -> None:
    row, secret = _token(world, world.alice)
    with connection.cursor() as cursor:
        for table in ("accounts_apitoken", "accounts_auditentry"):
            cursor.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", [f"%{secret}%"])
            assert cursor.fetchone() == (0,)
    assert secret.startswith(row.prefix)
    assert len(row.prefix) < len(secret) / 2


def test_another_organization_does_not_exist_for_a_token(world: World) -> None:
    _, secret = _token(world, world.alice)
    theirs, missing = _get(secret, "globex"), _get(secret, "no-such-place")
    assert theirs.status_code == missing.status_code == 404
    assert theirs.content == missing.content


@pytest.mark.parametrize("how", ["revoked", "expired", "person gone", "membership gone", "unknown", "someone's prefix"])
def test_a_token_that_no_longer_counts_is_refused(world: World, how: str) -> None:
    row, secret = _token(world, world.alice, expires_at=timezone.now() + timedelta(hours=1))
    if how == "revoked":
        with tenant(world.acme.pk):
            revoke_token(row.pk)
    elif how == "expired":
        with tenant(world.acme.pk):
            ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    elif how == "person gone":
        User.objects.filter(pk=world.alice.pk).update(is_active=False)
    elif how == "membership gone":
        with tenant(world.acme.pk):
            Membership.objects.get(user=world.alice).delete()
    elif how == "unknown":
        secret = "klr_made-up"
    elif how == "someone's prefix":
        secret = row.prefix
    answer = _get(secret)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert find_token(secret) is None


def test_a_token_that_expires_later_counts_until_then(world: World) -> None:
    _, secret = _token(world, world.alice, expires_at=timezone.now() + timedelta(hours=1))
    assert _get(secret).status_code == 200


@pytest.mark.parametrize("header", ["Bearer", "Bearer {} {}", "Bearer é", "bearer \x7f"])
def test_a_malformed_header_is_refused(world: World, header: str) -> None:
    assert _get("x", header=header.replace("{}", "x")).status_code == 401


def test_other_schemes_are_not_tokens(world: World) -> None:
    _, secret = _token(world, world.alice)
    assert _get(secret, header="Basic {}").status_code == 401


def test_a_token_can_do_what_its_member_can_and_no_more(world: World) -> None:
    _, secret = _token(world, world.bob)
    with tenant(world.acme.pk):
        bot = make_bot()
    answer = Client().post(
        f"{BOTS.format('acme')}{bot.pk}/pause/", headers={"Authorization": f"Bearer {secret}"}, data={}
    )
    assert answer.status_code == 403
    assert "Viewer" in answer.json()["detail"]


def test_a_token_needs_no_csrf_token_and_a_session_does(world: World) -> None:
    _, secret = _token(world, world.alice)
    with tenant(world.acme.pk):
        bot = make_bot()
    url = f"{BOTS.format('acme')}{bot.pk}/pause/"
    client = Client(enforce_csrf_checks=True)
    assert client.post(url, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    client.force_login(world.alice)
    assert client.post(url).status_code == 403


def test_a_lower_role_takes_effect_at_once(world: World) -> None:
    _, secret = _token(world, world.alice)
    with tenant(world.acme.pk):
        bot = make_bot()
        Membership.objects.filter(user=world.alice).update(role="viewer")
    answer = Client().post(f"{BOTS.format('acme')}{bot.pk}/pause/", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 403
