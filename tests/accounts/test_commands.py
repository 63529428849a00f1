"""What an operator does on the command line: a first organization, a token for a program, a link for a person."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import ApiToken, Membership, Organization, User
from accounts.tenancy import tenant
from accounts.tokens import token_hash
from tests.factories import World

pytestmark = pytest.mark.django_db


def said(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue().strip()


def test_an_organization_is_created_with_its_owner_who_can_sign_in(client: Client) -> None:
    slug, link = said("create_organization", "New Newspaper", "ann@example.org").split(": ", 1)
    assert (slug, User.objects.get().email) == ("new-newspaper", "ann@example.org")
    path = "/" + link.split("/", 3)[3]
    assert client.post(path, follow=True).redirect_chain[-1] == ("/o/new-newspaper/", 302)


def test_an_owner_who_exists_is_not_made_twice(world: World) -> None:
    said("create_organization", "Second", world.alice.email.upper())
    assert User.objects.filter(email__iexact=world.alice.email).count() == 1
    with tenant(Organization.objects.get(slug="second").pk):
        assert Membership.objects.get().user == world.alice


@pytest.mark.parametrize(
    ("name", "owner", "words"), [("News", "ann", "no e-mail address"), (" ", "a@b.org", "Give the")]
)
def test_bad_answers_create_nothing(name: str, owner: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        said("create_organization", name, owner)
    assert not Organization.objects.exists()


def test_a_token_is_printed_once_and_works(world: World, client: Client) -> None:
    secret = said("create_token", world.acme.slug, world.alice.email, "--name", "robot")
    assert ApiToken.everyone.get().sha256 == token_hash(secret)
    address = f"/api/v1/organizations/{world.acme.slug}/bots/"
    assert client.get(address, headers={"Authorization": f"Bearer {secret}"}).status_code == 200


def test_no_token_for_an_organization_of_others(world: World) -> None:
    with pytest.raises(CommandError, match="no active member"):
        said("create_token", world.acme.slug, world.charlie.email)
