"""What people decide about posts is kept as a lesson; what Kilroy does by itself is nobody's taste."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import audit
from accounts.tenancy import tenant
from bots.models import Bot, Decision
from bots.services import posts
from bots.services.posts import Draft
from tests.factories import World, client_of, make_bot, make_post

ALICE = audit.Actor("alice@kilroy.example")


@pytest.fixture
def bot(world: World) -> Any:
    with tenant(world.acme.pk):
        yield make_bot()


def kept() -> list[tuple[str, str, str, str, str]]:
    return list(Decision.objects.values_list("choice", "text", "original_text", "reason", "by"))


def test_approving_declining_and_editing_are_kept_with_who_did_it(bot: Bot) -> None:
    with audit.acting(ALICE):
        posts.approve_post(make_post(bot, text="A good one").pk)
        posts.decline_post(make_post(bot, text="A loud one").pk, "too loud")
        posts.edit_post(make_post(bot, text="A dull one").pk, "A brighter one")
    assert kept() == [
        ("approved", "A good one", "", "", ALICE.label),
        ("declined", "A loud one", "", "too loud", ALICE.label),
        ("edited", "A brighter one", "A dull one", "", ALICE.label),
    ]


def test_an_edit_that_changes_nothing_prefers_nothing(bot: Bot) -> None:
    with audit.acting(ALICE):
        posts.edit_post(make_post(bot, text="The same").pk, "The same")
    assert kept() == []


def test_what_is_withdrawn_or_refused_is_no_decision(bot: Bot) -> None:
    with audit.acting(ALICE):
        posts.cancel_post(make_post(bot).pk)
        with pytest.raises(posts.IllegalTransition):
            posts.approve_post(make_post(bot, "published").pk)
    assert kept() == []


def test_the_approval_policy_has_no_taste(world: World) -> None:
    with tenant(world.acme.pk):
        posts.propose_posts(make_bot(approval=Bot.Approval.AUTO), [Draft("A new text")])
        posts.approve_post(make_post(make_bot()).pk)  # by a process of Kilroy
        assert kept() == []


def test_the_review_queues_buttons_and_the_api_decide(world: World, bot: Bot) -> None:
    first, second = make_post(bot, text="Yes"), make_post(bot, text="No")
    client = client_of(world.alice)
    client.post(f"/o/acme/bots/{bot.pk}/posts/{first.pk}/approve/", {"sha256": first.payload_sha256})
    answer = client.post(
        f"/api/v1/organizations/acme/posts/{second.pk}/decline/", {"reason": "no"}, content_type="application/json"
    )
    assert answer.status_code == 200
    assert [(choice, text, by) for choice, text, _, _, by in kept()] == [
        ("approved", "Yes", "alice@kilroy.example"),
        ("declined", "No", "alice@kilroy.example"),
    ]
