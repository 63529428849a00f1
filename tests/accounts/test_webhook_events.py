"""What happens to posts, runs, models and connections is told to webhooks, by those who do it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse

from accounts import webhooks
from accounts.models import Webhook, WebhookDelivery
from accounts.services import pause_organization, resume_organization
from accounts.tenancy import tenant
from accounts.webhook_events import EVENTS
from bots.models import Bot
from bots.services import delivery, needs_human, posts
from bots.services.posts import Draft, propose_posts
from bots.services.scheduling import publish_now, queue_due
from bots.states import PostState
from faces.contract import FaceError
from faces.services import mark_broken
from tests.factories import World, client_of, make_bot, make_dataset, make_post, make_run, make_version
from training.models import Run
from training.services import runs, versions


@pytest.fixture
def bot(world: World) -> Iterator[Bot]:
    """A bot of Acme, whose webhook wants to know everything."""
    with tenant(world.acme.pk):
        Webhook.objects.create(url="https://hooks.example/", events=list(EVENTS))
        yield make_bot()


def told(**like: Any) -> list[tuple[str, str]]:
    """Events and states of the messages so far, oldest first; those whose data are like this."""
    rows = WebhookDelivery.objects.order_by("created_at", "next_attempt_at")
    data = [(row.event, row.payload["data"]) for row in rows]
    return sorted((event, said.get("state", "")) for event, said in data if like.items() <= said.items())


def test_a_post_that_waits_for_review_is_approved_and_published(bot: Bot) -> None:
    (post,) = propose_posts(bot, [Draft("Good morning")])
    assert told(post=str(post.pk), bot=str(bot.pk), connection=str(bot.connection_id)) == [
        ("post.proposed", "pending_review")
    ]
    posts.approve_post(post.pk)
    publish_now(str(post.pk))
    queue_due()
    assert delivery.deliver_post(post.pk) == PostState.PUBLISHED
    post.refresh_from_db()
    assert told(remote_url=post.remote_url) == [("post.published", "published")]
    delivery.take_down_post(post.pk)
    assert [event for event, _ in told(post=str(post.pk))] == [
        "post.approved",
        "post.deleted",
        "post.proposed",
        "post.published",
    ]


def test_a_bot_that_needs_no_review_tells_of_both(bot: Bot) -> None:
    bot.approval = Bot.Approval.AUTO
    bot.save()
    propose_posts(bot, [Draft("Good morning")])
    assert told() == [("post.approved", "approved"), ("post.proposed", "approved")]


def test_a_post_is_declined(bot: Bot) -> None:
    posts.decline_post(make_post(bot).pk)
    assert told() == [("post.declined", "declined")]


def test_a_refusal_by_the_platform_is_told(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> Any:
        raise FaceError("Too long.", permanent=True)

    monkeypatch.setattr(type(bot.connection.face), "publish_some", refuse)
    assert delivery.deliver_post(make_post(bot, PostState.QUEUED).pk) == PostState.REJECTED
    assert told() == [("post.failed", "rejected")]


def test_a_post_that_needs_a_person_and_what_the_person_found(bot: Bot) -> None:
    post = make_post(bot, PostState.UNKNOWN)
    assert delivery.settle(post, PostState.UNKNOWN, PostState.NEEDS_HUMAN)
    needs_human.confirm_published(post.pk, "https://social.example/1")
    assert told() == [("post.needs_human", "needs_human"), ("post.published", "published")]


def test_who_lost_the_lease_tells_nothing(bot: Bot) -> None:
    post = make_post(bot, PostState.UNKNOWN)
    post.fence += 1
    assert not delivery.settle(post, PostState.UNKNOWN, PostState.NEEDS_HUMAN)
    assert told() == []


def test_the_life_of_a_run(bot: Bot) -> None:
    run = runs.start_finetune(bot, make_dataset(bot, examples=30))
    for state in (Run.State.PAUSED, Run.State.RUNNING, Run.State.FINISHED):
        claimed = Run.objects.get(pk=run.pk)
        runs.release(claimed, state=state)
    assert told(run=str(run.pk), bot=str(bot.pk), kind="offline") == [
        ("run.finished", "finished"),
        ("run.paused", "paused"),
        ("run.started", "queued"),
    ]


def test_a_run_that_fails_or_is_stopped(bot: Bot) -> None:
    failed, stopped = make_run(bot, state="failed"), make_run(bot, state="running")
    runs.release(stopped, state=Run.State.STOPPED)
    failed.state = Run.State.RUNNING
    runs.fail(failed, RuntimeError("no memory"))
    assert told() == [("run.failed", "failed"), ("run.finished", "stopped")]
    assert "no memory" not in repr(list(WebhookDelivery.objects.values()))


def test_a_version_is_promoted(bot: Bot) -> None:
    make_version(bot)
    second = make_version(bot)
    versions.make_current(second.pk)
    assert told(model=str(second.pk), number=2) == [("model.promoted", "")]


def test_a_connection_breaks_once(bot: Bot) -> None:
    for _ in range(2):
        mark_broken(bot.connection, "the password was changed: hunter2")
    assert told(connection=str(bot.connection_id)) == [("connection.broken", "broken")]
    assert "hunter2" not in repr(list(WebhookDelivery.objects.values()))


def test_an_organization_is_paused_and_resumed(world: World, bot: Bot) -> None:
    pause_organization(world.acme)
    resume_organization(world.acme)
    assert told() == [("organization.paused", "paused"), ("organization.resumed", "active")]


def test_every_page_that_acts_for_one_organization_tells_only_its_own(world: World, bot: Bot) -> None:
    with tenant(world.globex.pk):
        Webhook.objects.create(url="https://hooks.example/", events=list(EVENTS))
    post = make_post(bot)
    client_of(world.alice).post(reverse("accounts:pause", args=["acme"]))
    posts.decline_post(post.pk)
    assert told() == [("organization.paused", "paused"), ("post.declined", "declined")]
    with tenant(world.globex.pk):
        assert told() == []
        webhooks.emit("post.declined", {"post": str(post.pk), "state": "declined"})
        assert [row.payload["data"]["organization"] for row in WebhookDelivery.objects.all()] == ["globex"]
