"""The operator's panel: looks across organizations, and acts through the services."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry, Organization, User
from accounts.tenancy import tenant
from bots.models import Bot, Post
from tests.everything import Everything, make_everything
from tests.factories import World, client_of, make_user

LISTS = ("accounts/user", "accounts/organization", "accounts/auditentry", "bots/bot", "bots/post")
POLICY = {"script-src": "'self' 'nonce-…' 'unsafe-eval'", "style-src": "'self' 'unsafe-inline'"}
"""What the panel's own scripts need, and no more (kilroy_site/middleware.py)."""


@pytest.fixture
def operator(db: None) -> Client:
    return client_of(make_user("operator@kilroy.example", is_staff=True, is_superuser=True))


@pytest.fixture
def made(world: World) -> Everything:
    with tenant(world.acme.pk):
        return make_everything()


def _act(client: Client, kind: str, action: str, *rows: Any) -> str:
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    answer = client.post(f"/operator/{kind}/", data, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def _policy_of(answer: Any) -> dict[str, str]:
    """Scripts and styles that a page's policy allows."""
    policy = re.sub(r"nonce-[\w-]+", "nonce-…", answer.headers["Content-Security-Policy"])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    return {name: rules[name] for name in POLICY}


def test_the_panels_policy_holds_nowhere_else(operator: Client) -> None:
    for url in ("/sign-in/", "/operatorish/", "/report/"):
        assert "unsafe" not in operator.get(url).headers["Content-Security-Policy"], url


@pytest.mark.parametrize("kind", LISTS)
def test_every_list_and_row_can_be_looked_at(world: World, made: Everything, operator: Client, kind: str) -> None:
    with tenant(world.acme.pk):
        line = AuditEntry.objects.latest("id")
    rows = {
        "accounts/user": world.alice,
        "accounts/organization": world.acme,
        "accounts/auditentry": line,
        "bots/bot": made.bot,
        "bots/post": made.post,
    }
    for url in (f"/operator/{kind}/", f"/operator/{kind}/?q=a", f"/operator/{kind}/{rows[kind].pk}/change/"):
        answer = operator.get(url)
        assert (answer.status_code, _policy_of(answer)) == (200, POLICY), url


def test_people_of_organizations_are_no_operators(world: World, made: Everything) -> None:
    for kind in LISTS:
        answer = client_of(world.alice).get(f"/operator/{kind}/")
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/operator/login/")


def test_the_operator_changes_no_row_behind_the_services(made: Everything, operator: Client) -> None:
    for kind, row in (("bots/bot", made.bot), ("bots/post", made.post)):
        assert operator.get(f"/operator/{kind}/add/").status_code == 403
        assert operator.post(f"/operator/{kind}/{row.pk}/change/", {"name": "x"}).status_code == 403
        assert operator.post(f"/operator/{kind}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert "delete_selected" not in operator.get(f"/operator/{kind}/").content.decode()


@pytest.mark.parametrize("kind", ["accounts/user", "accounts/organization"])
def test_people_and_organizations_are_not_deleted_with_all_they_own(
    world: World, made: Everything, operator: Client, kind: str
) -> None:
    row = world.alice if kind == "accounts/user" else world.acme
    assert operator.post(f"/operator/{kind}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    _act(operator, kind, "delete_selected", row)
    assert (User.objects.filter(pk=world.alice.pk).exists(), Organization.objects.count()) == (True, 2)


def test_an_organization_is_paused_and_resumed(world: World, operator: Client) -> None:
    _act(operator, "accounts/organization", "pause", world.acme)
    world.acme.refresh_from_db()
    assert world.acme.paused_at is not None
    _act(operator, "accounts/organization", "resume", world.acme)
    world.acme.refresh_from_db()
    assert world.acme.paused_at is None
    with tenant(world.acme.pk):
        lines = list(AuditEntry.objects.order_by("-id").values_list("actor", "action")[:2])
    assert lines == [
        ("operator operator@kilroy.example", "organization.resume"),
        ("operator operator@kilroy.example", "organization.pause"),
    ]


def test_bots_are_paused_and_posts_declined_across_organizations(
    world: World, made: Everything, operator: Client
) -> None:
    with tenant(world.globex.pk):
        theirs = make_everything()
    _act(operator, "bots/bot", "pause", made.bot, theirs.bot)
    html = _act(operator, "bots/post", "decline", made.post, theirs.post, made.posts["published"])
    assert "cannot become" in html
    for organization, rows in ((world.acme, made), (world.globex, theirs)):
        with tenant(organization.pk):
            assert Bot.objects.get(pk=rows.bot.pk).paused_at is not None
            assert Post.objects.get(pk=rows.post.pk).state == "declined"
            assert Post.objects.get(pk=rows.posts["published"].pk).state == "published"
