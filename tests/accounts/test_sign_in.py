"""Signing in: by password and by a link that works once."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from accounts.services import sign_in_link
from tests.factories import PASSWORD, World, client_of

SIGN_IN = "/sign-in/"


def _person(client: Client) -> str | None:
    return client.session.get("_auth_user_id")


def test_the_right_password_signs_in_and_leads_home(world: World) -> None:
    client = Client()
    answer = client.post(SIGN_IN, {"login": "alice@kilroy.example", "password": PASSWORD}, follow=True)
    assert [url for url, _ in answer.redirect_chain] == ["/", "/o/acme/"]
    assert _person(client) == str(world.alice.pk)


def test_the_address_works_in_any_case(world: World) -> None:
    client = Client()
    client.post(SIGN_IN, {"login": "Alice@Kilroy.Example", "password": PASSWORD})
    assert _person(client) == str(world.alice.pk)


@pytest.mark.parametrize(
    ("username", "password"),
    [("alice@kilroy.example", "wrong"), ("nobody@kilroy.example", PASSWORD), ("alice@kilroy.example", "")],
)
def test_a_wrong_password_or_address_does_not(world: World, username: str, password: str) -> None:
    client = Client()
    answer = client.post(SIGN_IN, {"login": username, "password": password})
    assert answer.status_code == 200
    assert answer.context["form"].errors
    assert _person(client) is None


def test_a_wrong_address_and_a_wrong_password_are_told_alike(world: World) -> None:
    told = [
        Client().post(SIGN_IN, {"login": name, "password": "wrong"}).context["form"].non_field_errors()
        for name in ("alice@kilroy.example", "nobody@kilroy.example")
    ]
    assert told[0] == told[1]


def test_a_person_who_was_deactivated_cannot_sign_in(world: World) -> None:
    User.objects.filter(pk=world.alice.pk).update(is_active=False)
    client = Client()
    client.post(SIGN_IN, {"login": "alice@kilroy.example", "password": PASSWORD})
    assert _person(client) is None
    assert Client().get(sign_in_link(world.alice)).headers["Location"] == SIGN_IN


def test_signing_out_needs_a_post_and_ends_the_session(world: World) -> None:
    client = client_of(world.alice)
    assert client.get("/sign-out/").status_code == 200
    assert _person(client) == str(world.alice.pk)
    assert client.post("/sign-out/").headers["Location"] == SIGN_IN
    assert _person(client) is None


def test_a_form_of_another_site_is_refused(world: World) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post(SIGN_IN, {"login": "alice@kilroy.example", "password": PASSWORD})
    assert answer.status_code == 403
    assert _person(client) is None


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/"])
def test_signing_in_does_not_lead_to_another_site(world: World, target: str) -> None:
    answer = Client().post(f"{SIGN_IN}?next={target}", {"login": "alice@kilroy.example", "password": PASSWORD})
    assert answer.headers["Location"] == "/"


def test_a_link_is_looked_at_any_number_of_times_and_used_once(world: World) -> None:
    link, client = sign_in_link(world.alice), Client()
    for _ in range(2):  # a mail program's preview, then the person
        assert client.get(link).status_code == 200
        assert _person(client) is None
    assert client.post(link).headers["Location"] == "/"
    assert _person(client) == str(world.alice.pk)

    another = Client()
    assert another.post(link).headers["Location"] == SIGN_IN
    assert _person(another) is None
    assert "used already" in another.get(SIGN_IN).content.decode()


def test_a_link_made_in_the_same_second_as_a_sign_in_works_once_too(world: World) -> None:
    Client().post(sign_in_link(world.alice))
    world.alice.refresh_from_db()
    link = sign_in_link(world.alice)
    first, second = Client(), Client()
    first.post(link)
    second.post(link)
    assert (_person(first), _person(second)) == (str(world.alice.pk), None)


def test_a_link_ends_with_a_new_password(world: World) -> None:
    link = sign_in_link(world.alice)
    world.alice.set_password("another long pass phrase")
    world.alice.save()
    assert Client().get(link).headers["Location"] == SIGN_IN


def test_a_link_is_for_one_person_only(world: World) -> None:
    parts, others = sign_in_link(world.alice).split("/"), sign_in_link(world.bob).split("/")
    assert Client().get("/".join([*parts[:-2], others[-2], ""])).headers["Location"] == SIGN_IN


@pytest.mark.parametrize(
    ("uid", "token"),
    [
        ("x", "y"),
        ("AAAA", "c7-0"),
        ("_____w", "a-b"),
        ("MTIz", "token"),
        ("é", "ü"),
        ("%00", "%00"),
        ("A" * 999, "B-C"),
    ],
)
def test_garbage_in_a_link_is_refused_politely(world: World, uid: str, token: str) -> None:
    for answer in (Client().get(f"/sign-in/{uid}/{token}/"), Client().post(f"/sign-in/{uid}/{token}/")):
        assert (answer.status_code, answer.headers["Location"]) == (302, SIGN_IN)


def test_the_home_of_nobody_is_the_sign_in_page(db: None) -> None:
    assert Client().get("/").headers["Location"] == f"{SIGN_IN}?next=/"


def test_somebody_without_an_organization_is_told_so(db: None) -> None:
    lonely = User.objects.create_user("lonely@kilroy.example", PASSWORD)
    answer = client_of(lonely).get(reverse("accounts:start"))
    assert answer.status_code == 200
    assert "organization" in answer.content.decode()
