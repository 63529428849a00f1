"""Second factors: who must give one, how they are kept, how their keys rotate."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.core import mail
from django.test import Client

from accounts import vault
from accounts.models import User
from accounts.rotation import rotate_keys
from accounts.second_factor import has_second_factor
from accounts.services import sign_in_link
from tests.accounts.signing_in import add_authenticator_app, code_of, links, person_of, sign_in, stored
from tests.accounts.test_pages import trouble_of
from tests.factories import PASSWORD, World, client_of, make_user

AUTHENTICATE = "/account/second-factor/authenticate/"
ACTIVATE = "/account/second-factor/totp/activate/"
OLD, NEW = bytes(32), bytes([7] * 32)


def _signed_in(world: World) -> Client:
    """Alice, who has just shown once more that it is her."""
    client = Client()
    sign_in(client, world.alice.email)
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    return client


def test_an_app_is_added_and_asked_for_from_then_on(world: World) -> None:
    alice = _signed_in(world)
    page = alice.get(ACTIVATE)
    secret = page.context["form"].secret
    assert (page.status_code, trouble_of(page)) == (200, [])
    assert "not right" in alice.post(ACTIVATE, {"code": "000000"}).content.decode()
    codes = alice.post(ACTIVATE, {"code": code_of(secret)}, follow=True)
    assert (codes.status_code, len(codes.context["unused_codes"]), trouble_of(codes)) == (200, 10, [])
    assert has_second_factor(world.alice)

    other = Client()
    answer = sign_in(other, world.alice.email)
    assert (answer.headers["Location"], person_of(other)) == (AUTHENTICATE, None)
    assert other.get("/o/acme/").status_code == 302
    other.post(AUTHENTICATE, {"code": "123"})
    assert person_of(other) is None
    other.post(AUTHENTICATE, {"code": code_of(secret)})
    assert person_of(other) == str(world.alice.pk)


def test_losing_one_is_told_by_mail(world: World) -> None:
    add_authenticator_app(world.alice)
    _signed_in_by_force(world).post("/account/second-factor/totp/deactivate/")
    assert not has_second_factor(world.alice)
    assert "app was removed" in mail.outbox[0].body
    assert "/account/" in links(mail.outbox[0])


def test_adding_one_needs_the_password_again(world: World) -> None:
    alice = Client()
    sign_in(alice, world.alice.email)
    assert alice.get(ACTIVATE).headers["Location"].startswith("/account/reauthenticate/")


def test_a_code_works_once(world: World) -> None:
    secret = add_authenticator_app(world.alice)
    first, second = Client(), Client()
    for client in (first, second):
        sign_in(client, world.alice.email)
        client.post(AUTHENTICATE, {"code": code_of(secret)})
    assert (person_of(first), person_of(second)) == (str(world.alice.pk), None)


def test_a_sign_in_link_is_a_first_factor_only_and_works_once(world: World) -> None:
    secret, link, client = add_authenticator_app(world.alice), sign_in_link(world.alice), Client()
    assert client.post(link).headers["Location"] == AUTHENTICATE
    assert person_of(client) is None
    assert Client().post(link).headers["Location"] == "/sign-in/"
    page = client.get(AUTHENTICATE)
    assert (page.status_code, trouble_of(page)) == (200, [])
    client.post(AUTHENTICATE, {"code": code_of(secret)})
    assert person_of(client) == str(world.alice.pk)


def test_a_recovery_code_works_once(world: World) -> None:
    add_authenticator_app(world.alice)
    code = RecoveryCodes.activate(world.alice).get_unused_codes()[0]
    first, second = Client(), Client()
    for client in (first, second):
        sign_in(client, world.alice.email)
        client.post(AUTHENTICATE, {"code": code})
    assert (person_of(first), person_of(second)) == (str(world.alice.pk), None)


def test_guessing_codes_is_stopped(world: World) -> None:
    secret, client = add_authenticator_app(world.alice), Client()
    sign_in(client, world.alice.email)
    for _ in range(21):
        answer = client.post(AUTHENTICATE, {"code": "000000"})
    assert "too often" in answer.content.decode().lower() or "too many" in answer.content.decode().lower()
    client.post(AUTHENTICATE, {"code": code_of(secret)})
    assert person_of(client) is None


def test_recovery_codes_alone_are_no_second_factor(world: World) -> None:
    RecoveryCodes.activate(world.alice)
    assert not has_second_factor(world.alice)


def test_a_person_without_a_password_adds_one_too(db: None) -> None:
    guest, client = User.objects.create_user("guest@kilroy.example"), Client()
    client.post(sign_in_link(guest))
    assert client.get(ACTIVATE).status_code == 200
    assert "Set a password" in client.get("/account/password/change/", follow=True).content.decode()


def test_secrets_lie_in_envelopes(world: World) -> None:
    secret = add_authenticator_app(world.alice)
    codes = RecoveryCodes.activate(world.alice)
    kept = stored(world.alice)
    assert secret not in str(kept)
    for envelope in (kept["totp"]["secret"], kept["recovery_codes"]["seed"]):
        assert envelope.startswith(vault.current_prefix())
    assert len(codes.generate_codes()) == 10
    with pytest.raises(vault.VaultError):
        vault.unseal_text("something else", kept["totp"]["secret"])


def test_rotation_seals_them_anew_and_they_still_open(world: World, settings: Any) -> None:
    settings.CREDENTIAL_KEYS = {"old": OLD}
    secret, codes = add_authenticator_app(world.alice), RecoveryCodes.activate(world.alice).generate_codes()
    settings.CREDENTIAL_KEYS = {"new": NEW, "old": OLD}
    done = rotate_keys()
    assert (done.resealed, done.unopened) == (2, [])
    again = rotate_keys()
    assert (again.resealed, again.current) == (0, 2)
    settings.CREDENTIAL_KEYS = {"new": NEW}
    client = Client()
    sign_in(client, world.alice.email)
    client.post(AUTHENTICATE, {"code": code_of(secret)})
    assert person_of(client) == str(world.alice.pk)
    assert RecoveryCodes.activate(world.alice).generate_codes() == codes


def test_a_secret_whose_key_is_gone_says_so_and_lets_nobody_in(world: World, settings: Any) -> None:
    settings.CREDENTIAL_KEYS = {"old": OLD}
    secret, client = add_authenticator_app(world.alice), Client()
    settings.CREDENTIAL_KEYS = {"new": NEW}
    done = rotate_keys()
    assert (done.resealed, len(done.unopened)) == (0, 1)
    sign_in(client, world.alice.email)
    answer = client.post(AUTHENTICATE, {"code": code_of(secret)})
    assert (answer.status_code, "the key of its secret is missing" in answer.content.decode()) == (200, True)
    assert person_of(client) is None


def test_the_operator_helps_whoever_lost_theirs(world: World) -> None:
    add_authenticator_app(world.alice)
    operator = client_of(make_user(is_staff=True, is_superuser=True))
    action = {"action": "remove_second_factors", "_selected_action": [str(world.alice.pk)]}
    operator.post("/operator/accounts/user/", action)
    assert not has_second_factor(world.alice)


def test_the_operators_panel_shows_no_secrets_and_no_session_keys(world: World) -> None:
    add_authenticator_app(world.alice)
    operator = client_of(make_user(is_staff=True, is_superuser=True))
    for address in ("mfa/authenticator", "usersessions/usersession", "socialaccount/socialapp"):
        assert operator.get(f"/operator/{address}/").status_code == 404


PAGES = ("", "totp/activate/", "totp/deactivate/", "recovery-codes/", "recovery-codes/generate/", "webauthn/")


@pytest.mark.parametrize("page", [*PAGES, "webauthn/add/", "reauthenticate/", "webauthn/reauthenticate/"])
@pytest.mark.parametrize("equipped", [True, False])
def test_pages_keep_to_the_content_policy(world: World, page: str, equipped: bool) -> None:
    if equipped:
        add_authenticator_app(world.alice)
        RecoveryCodes.activate(world.alice)
    answer = _signed_in_by_force(world).get(f"/account/second-factor/{page}", follow=True)
    missing = not equipped and page in ("totp/deactivate/", "recovery-codes/")
    assert answer.status_code == (404 if missing else 200)
    assert trouble_of(answer) == []


def _signed_in_by_force(world: World) -> Client:
    client = client_of(world.alice)
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    return client
