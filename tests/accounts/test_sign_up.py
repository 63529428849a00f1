"""Signing up, whose address it is, and setting passwords: what is told to whom."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from smtplib import SMTPServerDisconnected
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.apps import apps
from django.core import mail
from django.core.management import call_command
from django.test import Client

from accounts import clock
from accounts.models import Invitation, User
from accounts.people import person_with
from accounts.tenancy import tenant
from tests.accounts.signing_in import SIGN_IN, links, person_of, sign_in
from tests.accounts.test_pages import trouble_of
from tests.factories import PASSWORD, World, client_of

SIGN_UP = "/account/signup/"
NEW = {"name": "Dora", "email": "Dora@Kilroy.Example", "password1": PASSWORD}


def test_whoever_follows_the_mailed_link_signs_in(world: World) -> None:
    client = Client()
    answer = client.post(SIGN_UP, NEW, follow=True)
    assert "Check your mail" in answer.content.decode()
    dora = User.objects.get(email="dora@kilroy.example")
    assert (dora.name, person_of(client), mail.outbox[0].to) == ("Dora", None, ["dora@kilroy.example"])

    sign_in(client, "dora@kilroy.example")
    assert person_of(client) is None

    (link,) = links(mail.outbox[0])
    assert Client().get(link).status_code == 200  # a mail program's preview verifies nothing
    sign_in(client, "dora@kilroy.example")
    assert person_of(client) is None
    client.post(link)
    sign_in(client, "dora@kilroy.example")
    assert person_of(client) == str(dora.pk)


def test_a_taken_address_is_told_to_its_owner_only(world: World) -> None:
    free = Client().post(SIGN_UP, NEW, follow=True)
    taken = Client().post(SIGN_UP, NEW | {"email": "Alice@Kilroy.Example"}, follow=True)
    assert free.redirect_chain == taken.redirect_chain
    assert User.objects.filter(email__iexact="alice@kilroy.example").count() == 1
    assert [message.to for message in mail.outbox] == [["dora@kilroy.example"], ["alice@kilroy.example"]]
    assert "there is an account with this address already" in mail.outbox[1].body
    world.alice.refresh_from_db()
    assert world.alice.check_password(PASSWORD)


def test_an_address_taken_at_the_same_moment_is_told_alike(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.forms.SignUpForm.validate_unique_email", lambda form, value: value)
    answer = Client().post(SIGN_UP, NEW | {"email": "alice@kilroy.example"}, follow=True)
    assert "Check your mail" in answer.content.decode()
    assert mail.outbox[0].to == ["alice@kilroy.example"]


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("elevenchars", "at least 12"),
        ("dora@kilroy.example", "too similar"),
        ("1qaz2wsx3edc4rfv", "too common"),
    ],
)
def test_weak_passwords_are_refused_in_words(db: None, password: str, words: str) -> None:
    answer = Client().post(SIGN_UP, NEW | {"password1": password})
    assert words in answer.context["form"].errors["password1"][0]
    assert not User.objects.exists()


def test_a_long_password_needs_no_signs_and_no_digits(db: None) -> None:
    Client().post(SIGN_UP, NEW | {"password1": "only small letters here"})
    assert User.objects.count() == 1


@pytest.fixture
def invitation(world: World) -> Invitation:
    with tenant(world.acme.pk):
        return Invitation.objects.create(
            email="dora@kilroy.example",
            role="viewer",
            sha256="0" * 64,
            invited_by=world.alice.email,
            expires_at=clock.now() + timedelta(days=1),
        )


def _holding(invitation: Invitation) -> Client:
    client = Client()
    session = client.session
    session["invitation"] = str(invitation.pk)
    session.save()
    return client


def test_only_the_invited_sign_up_where_the_operator_wants_it_so(settings: Any, invitation: Invitation) -> None:
    settings.SIGN_UP = "invited"
    stranger = Client().get(SIGN_UP)
    assert "Only invited people" in stranger.content.decode()
    Client().post(SIGN_UP, NEW)
    _holding(invitation).post(SIGN_UP, NEW | {"email": "eve@kilroy.example"})
    assert not User.objects.filter(name="Dora").exists()

    guest = _holding(invitation)
    assert "dora@kilroy.example" in guest.get(SIGN_UP).content.decode()
    guest.post(SIGN_UP, NEW)
    assert User.objects.filter(email="dora@kilroy.example").exists()


@pytest.mark.parametrize("change", ["accepted_at", "revoked_at", "expires_at"])
def test_an_invitation_that_ended_lets_nobody_sign_up(settings: Any, invitation: Invitation, change: str) -> None:
    settings.SIGN_UP = "invited"
    with tenant(invitation.organization_id):
        Invitation.objects.update(**{change: clock.now() - timedelta(minutes=1)})
    _holding(invitation).post(SIGN_UP, NEW)
    assert not User.objects.filter(name="Dora").exists()


def test_a_new_password_by_mail_ends_every_session(world: World) -> None:
    thief, alice = client_of(world.alice), Client()
    alice.post("/account/password/reset/", {"email": "ALICE@kilroy.example"})
    (link,) = links(mail.outbox[0])
    page = alice.get(link, follow=True)
    alice.post(page.redirect_chain[-1][0], {"password1": "another long pass phrase", "password2": ""})
    form = {"password1": "another long pass phrase", "password2": "another long pass phrase"}
    assert "holds" in alice.post(page.redirect_chain[-1][0], form, follow=True).content.decode()
    assert thief.get("/o/acme/").status_code == 302
    sign_in(alice, world.alice.email, "another long pass phrase")
    assert person_of(alice) == str(world.alice.pk)
    assert "has ended" in Client().get(link, follow=True).content.decode()
    assert "set anew" in mail.outbox[-1].body


def test_asking_for_a_new_password_does_not_tell_who_is_here(world: World) -> None:
    answers = [
        Client().post("/account/password/reset/", {"email": email}, follow=True)
        for email in ("alice@kilroy.example", "nobody@kilroy.example")
    ]
    assert answers[0].redirect_chain == answers[1].redirect_chain
    assert [message.to for message in mail.outbox] == [["alice@kilroy.example"]]


def test_links_in_mails_lead_to_the_installation_whatever_host_was_asked(world: World, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    Client().post("/account/password/reset/", {"email": "alice@kilroy.example"}, headers={"Host": "evil.example"})
    assert "evil.example" not in mail.outbox[0].body
    assert len(links(mail.outbox[0])) == 1


def test_a_mail_that_cannot_be_sent_is_said_and_breaks_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise SMTPServerDisconnected("Connection lost")

    monkeypatch.setattr("django.core.mail.message.EmailMessage.send", broken)
    answer = Client().post(SIGN_UP, NEW, follow=True)
    assert (answer.status_code, "could not be sent" in answer.content.decode()) == (200, True)


def test_a_second_address_signs_in_once_it_is_verified(world: World) -> None:
    alice = Client()
    sign_in(alice, world.alice.email)
    answer = alice.post("/account/email/", {"action_add": "1", "email": "work@kilroy.example"})
    assert answer.headers["Location"].startswith("/account/reauthenticate/")
    alice.post(answer.headers["Location"], {"password": PASSWORD}, follow=True)
    assert person_with("work@kilroy.example") is None
    (link,) = links(next(message for message in mail.outbox if message.to == ["work@kilroy.example"]))
    alice.post(link)
    assert person_with("Work@kilroy.example") == world.alice
    other = Client()
    sign_in(other, "work@kilroy.example")
    assert person_of(other) == str(world.alice.pk)
    page = alice.get("/account/email/")
    assert (page.content.decode().count("Verified"), trouble_of(page)) == (2, [])


def test_whom_the_operator_makes_signs_in_at_once(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", "--noinput", "--email", "Root@Kilroy.Example")
    client = Client()
    sign_in(client, "root@kilroy.example")
    assert client.get("/operator/").status_code == 200
    client.post("/operator/accounts/user/add/", {"email": "new@kilroy.example", "is_active": "on"})
    new = User.objects.get(email="new@kilroy.example")
    assert EmailAddress.objects.get(user=new).verified
    assert not new.has_usable_password()
    client.post(f"/operator/accounts/user/{new.pk}/change/", {"email": "moved@kilroy.example", "is_active": "on"})
    main = EmailAddress.objects.get(user=new, primary=True)
    assert (main.email, main.verified) == ("moved@kilroy.example", True)


def test_people_of_before_are_vouched_for_once(world: World) -> None:
    EmailAddress.objects.filter(user=world.alice).delete()
    import_module("accounts.migrations.0005_verified_addresses").vouch_for_everybody(apps, None)
    alice = EmailAddress.objects.get(user=world.alice)
    assert (alice.email, alice.verified, alice.primary) == ("alice@kilroy.example", True, True)
    assert EmailAddress.objects.count() == 3


@pytest.mark.parametrize("page", [SIGN_IN, SIGN_UP, "/account/password/reset/", "/sign-out/"])
def test_the_door_keeps_to_the_content_policy(world: World, page: str) -> None:
    for client in (Client(), client_of(world.alice)):
        assert trouble_of(client.get(page, follow=True)) == []
