"""What people are told of training and of what waits for them: by whom it can be mended, once, with a link to it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts import audit
from accounts.models import Notification
from bots.models import Bot
from bots.services.posts import Draft, decline_post, propose_posts
from tests.factories import World, client_of, make_bot, make_canary, make_run, make_version
from training.services import canaries, runs


def told(kind: str) -> list[tuple[str, str, str]]:
    """(title, path, text) of what Alice has not read."""
    rows = Notification.objects.filter(kind=kind, read_at=None, user__email="alice@kilroy.example")
    return list(rows.order_by("created_at").values_list("title", "path", "text"))


@pytest.fixture
def alice(acme: World) -> Client:
    return client_of(acme.alice)


def leads(client: Client, path: str) -> bool:
    return client.get(path).status_code == 200


def test_a_run_that_fails_says_why(bot: Bot, alice: Client) -> None:
    run = make_run(bot, state="running")
    runs.fail(run, RuntimeError("The disk is full."))
    [(title, path, text)] = told("run.failed")
    assert (title, text, leads(alice, path)) == ("Training of Writer failed", "The disk is full.", True)


def test_a_run_that_finishes_waits_for_the_digest(bot: Bot, alice: Client) -> None:
    runs.release(make_run(bot, state="running"), state="finished")
    [(_, path, _)] = told("run.finished")
    assert leads(alice, path)


@pytest.mark.parametrize(("person", "count"), [(False, 1), (True, 0)])
def test_a_version_that_rolls_back_by_itself_is_news_and_one_that_a_person_rolls_back_is_not(
    acme: World, bot: Bot, alice: Client, person: bool, count: int
) -> None:
    canary = make_canary(make_version(bot), make_version(bot, number=2))
    with audit.acting(audit.Actor("alice@kilroy.example", acme.alice) if person else audit.SYSTEM):
        canaries.roll_back(canary.pk, "Its posts did worse.")
    rows = told("canary.rolled_back")
    assert [(text, leads(alice, path)) for _, path, text in rows] == [("Its posts did worse.", True)] * count


def test_posts_that_wait_for_review_are_told_of_when_none_waited_before(acme: World, alice: Client) -> None:
    bot = make_bot(name="Careful", approval="review")
    first, second = propose_posts(bot, [Draft("A kettle sings in the fog"), Draft("The tram is late once more")])
    [(title, path, text)] = told("review.waiting")
    assert (title, leads(alice, path)) == ("Posts of Careful wait for review", True)
    assert "kettle" not in title + text  # no text of a post is mailed
    Notification.objects.all().delete()
    [third] = propose_posts(bot, [Draft("Nobody minds the gulls any more")])
    assert told("review.waiting") == []
    for post in (first, second, third):
        decline_post(post.pk)
    propose_posts(bot, [Draft("A postman whistles in the rain")])
    assert len(told("review.waiting")) == 1


def test_posts_that_need_no_review_are_nobodys_news(bot: Bot) -> None:
    made: list[Any] = propose_posts(bot, [Draft("A kettle sings in the fog")])
    assert (made[0].state, told("review.waiting")) == ("approved", [])
