"""Single sign-on: the whole code flow against a provider on loopback, honest and not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.core import mail
from django.test import Client
from requests.models import Response

from accounts import clock
from accounts.models import Invitation, User
from accounts.tenancy import tenant
from kilroy_site.settings import SINGLE_SIGN_ON
from tests.accounts.openid_provider import CLIENT_ID, SECRET, Provider, back, new_key
from tests.accounts.signing_in import add_authenticator_app, code_of, links, person_of, sign_in
from tests.accounts.test_pages import trouble_of
from tests.factories import PASSWORD, World

LOGIN, CALLBACK = "/account/oidc/sso/login/", "/account/oidc/sso/login/callback/"


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    provider = Provider()
    server = provider.start()
    app = SINGLE_SIGN_ON | {
        "name": "Example ID",
        "client_id": CLIENT_ID,
        "secret": SECRET,
        "settings": SINGLE_SIGN_ON["settings"] | {"server_url": provider.address},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}
    yield provider
    server.shutdown()
    server.server_close()


def _go(provider: Provider, client: Client, **query: str) -> Any:
    """From the button on the sign-in page to the provider and back."""
    answer = client.post(LOGIN, query_params=query or {"process": "login"})
    (address,) = re.findall(r"content=\"0;URL=&#x27;(.+?)&#x27;\"|content=\"0;URL='(.+?)'\"", answer.content.decode())
    there = unescape(next(filter(None, address)))
    assert (answer.status_code, trouble_of(answer), there.startswith(provider.address)) == (200, [], True)
    return client.get(back(CALLBACK, provider.allow(there)))


def test_it_is_off_until_it_is_set(world: World) -> None:
    assert "/account/oidc/" not in Client().get("/sign-in/").content.decode()
    for address in (LOGIN, CALLBACK):
        assert Client().get(address).status_code == 404


def test_somebody_new_signs_up_by_coming(provider: Provider, world: World) -> None:
    provider.person |= {"email": "dora@kilroy.example", "name": "Dora"}
    client = Client()
    assert "Example ID" in client.get("/sign-in/").content.decode()
    assert _go(provider, client).headers["Location"] == "/"
    dora = User.objects.get(email="dora@kilroy.example")
    assert (dora.name, person_of(client), dora.has_usable_password()) == ("Dora", str(dora.pk), False)
    assert EmailAddress.objects.get(user=dora).verified
    assert not SocialToken.objects.exists()
    again = Client()
    _go(provider, again)
    assert person_of(again) == str(dora.pk)


def test_a_verified_address_connects_to_the_account_that_has_it(provider: Provider, world: World) -> None:
    client = Client()
    _go(provider, client)
    assert person_of(client) == str(world.alice.pk)
    account = SocialAccount.objects.get(user=world.alice)
    assert account.uid == f"{provider.address} 17"
    provider.person["email"] = "renamed@kilroy.example"
    later = Client()
    _go(provider, later)
    assert person_of(later) == str(world.alice.pk)


@pytest.mark.parametrize("verified", [False, None, "true", "false", 1])
def test_an_address_that_is_not_verified_connects_to_nothing(
    provider: Provider, world: World, verified: object
) -> None:
    provider.person["email_verified"] = verified
    client = Client()
    _go(provider, client)
    assert person_of(client) is None
    assert not SocialAccount.objects.exists()


def test_whoever_took_the_address_before_without_owning_it_loses_the_password(provider: Provider, db: None) -> None:
    form = {"name": "", "email": "alice@kilroy.example", "password1": PASSWORD}
    Client().post("/account/signup/", form)
    client = Client()
    _go(provider, client)
    assert person_of(client) is None
    client.post(links(mail.outbox[0])[0])  # the owner reads the mail
    _go(provider, client)
    assert person_of(client) is not None
    thief = Client()
    sign_in(thief, "alice@kilroy.example")
    assert person_of(thief) is None


def test_the_second_factor_is_still_asked_for(provider: Provider, world: World) -> None:
    secret, client = add_authenticator_app(world.alice), Client()
    answer = _go(provider, client)
    assert (answer.headers["Location"], person_of(client)) == ("/account/second-factor/authenticate/", None)
    client.post(answer.headers["Location"], {"code": code_of(secret)})
    assert person_of(client) == str(world.alice.pk)


def test_somebody_signed_in_connects_and_disconnects(provider: Provider, world: World) -> None:
    client = Client()
    sign_in(client, world.alice.email)
    provider.person["email"] = "other@kilroy.example"
    client.post("/account/reauthenticate/", {"password": PASSWORD})
    _go(provider, client, process="connect")
    account = SocialAccount.objects.get(user=world.alice)
    page = client.get("/account/sso/")
    assert ("other@kilroy.example" in page.content.decode(), trouble_of(page)) == (True, [])
    client.post("/account/sso/", {"account": account.pk})
    assert not SocialAccount.objects.exists()


def _forged_key(provider: Provider) -> None:
    provider.signs_with = new_key()


def _shared_secret(provider: Provider) -> None:
    provider.signs_with, provider.algorithm = SECRET * 2, "HS256"


def _unsigned(provider: Provider) -> None:
    provider.signs_with, provider.algorithm = "", "none"


LIES = {
    "signed by another key": _forged_key,
    "signed with the shared secret": _shared_secret,
    "not signed": _unsigned,
    "for another client": lambda provider: provider.claims.update(aud="somebody else"),
    "from another issuer": lambda provider: provider.claims.update(iss="https://evil.example"),
    "of yesterday": lambda provider: provider.claims.update(exp=int(time.time()) - 60),
    "without an end": lambda provider: provider.claims.update(exp=None),
    "about nobody": lambda provider: provider.claims.update(sub=None),
    "about somebody else than userinfo": lambda provider: provider.told.update(sub="18"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_id_token_that_cannot_be_trusted_lets_nobody_in(provider: Provider, world: World, lie: str) -> None:
    LIES[lie](provider)
    client = Client()
    answer = _go(provider, client)
    assert (answer.status_code, trouble_of(answer)) == (401, [])
    assert "did not let you in" in answer.content.decode()
    assert (person_of(client), SocialAccount.objects.count()) == (None, 0)


def test_an_answer_to_a_question_that_was_not_asked_is_refused(provider: Provider, world: World) -> None:
    asked, client = Client(), Client()
    answer = asked.post(LOGIN)
    (there,) = re.findall(r'href="(http://127[^"]+)"', answer.content.decode())
    brought = provider.allow(unescape(there))
    assert client.get(back(CALLBACK, brought)).status_code == 401
    assert asked.get(back(CALLBACK, brought | {"code": "made up"})).status_code == 401
    assert (person_of(client), person_of(asked)) == (None, None)


def test_who_says_no_there_reads_so_here(provider: Provider, world: World) -> None:
    client = Client()
    (there,) = re.findall(r'href="(http://127[^"]+)"', client.post(LOGIN).content.decode())
    state = provider.allow(unescape(there))["state"]
    answer = client.get(back(CALLBACK, {"error": "access_denied", "state": state}), follow=True)
    assert "You came back without signing in" in answer.content.decode()


def test_a_provider_that_is_down_or_broken_is_no_accident(
    provider: Provider, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.description = {"authorization_endpoint": None}
    monkeypatch.setattr(Provider, "describes", lambda self: {"issuer": self.address})
    assert Client().post(LOGIN).status_code == 401
    monkeypatch.setattr("requests.Session.request", _refused)
    assert Client().post(LOGIN).status_code == 401


def _refused(*args: Any, **kwargs: Any) -> Response:
    from requests import ConnectionError as Refused

    raise Refused("nobody listens")


@pytest.mark.parametrize("invited", ["dora@kilroy.example", "eve@kilroy.example", None])
def test_only_the_invited_come_by_it_where_the_operator_wants_it_so(
    provider: Provider, world: World, settings: Any, invited: str | None
) -> None:
    settings.SIGN_UP = "invited"
    provider.person["email"] = "dora@kilroy.example"
    client = Client()
    if invited:
        with tenant(world.acme.pk):
            invitation = Invitation.objects.create(
                email=invited, role="viewer", sha256="0" * 64, expires_at=clock.now() + timedelta(days=1)
            )
        session = client.session
        session["invitation"] = str(invitation.pk)
        session.save()
    answer = _go(provider, client)
    assert (person_of(client) is not None) == (invited == "dora@kilroy.example")
    assert ("Only invited people" in answer.content.decode()) == (invited != "dora@kilroy.example")


def test_the_page_before_the_provider(provider: Provider, world: World) -> None:
    answer = Client().get(LOGIN)
    assert (answer.status_code, trouble_of(answer), provider.asked) == (200, [], [])
