"""Pages of harvests, of training again by itself, and of the queue: forms in, services called, words out."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.tenancy import tenant
from bots.models import Bot, Post
from tests.accounts.test_pages import trouble_of
from tests.factories import World, client_of, make_member, make_post, make_user, make_version
from training.models import Generation, Harvest, Retraining


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


@pytest.fixture
def moderator(world: World) -> Client:
    user = make_user()
    make_member(world.acme, "moderator", user)
    return client_of(user)


def say(client: Client, bot: Bot, path: str, status: int = 200, **data: Any) -> str:
    """What the page says after a form was sent."""
    answer = client.post(f"/o/acme/bots/{bot.pk}/{path}", data, follow=True)
    assert (answer.status_code, trouble_of(answer)) == (status, [])
    return answer.content.decode()


def see(client: Client, bot: Bot, path: str) -> str:
    answer = client.get(f"/o/acme/bots/{bot.pk}/{path}")
    assert (answer.status_code, trouble_of(answer)) == (200, [])
    return answer.content.decode()


def test_a_harvest_is_made_switched_and_removed(alice: Client, bot: Bot) -> None:
    assert "No account is read yet" in see(alice, bot, "harvests/")
    form = {"connection": bot.connection_id, "every_minutes": 60}
    assert "The posts are being read" in say(alice, bot, "harvests/new/", **form)
    harvest = Harvest.objects.get()
    assert "every hour" in see(alice, bot, "harvests/")
    assert "does not show Kilroy the posts of others" in say(alice, bot, "harvests/new/", 400, **form, account="@ann")
    assert "The account is being read." in say(alice, bot, f"harvests/{harvest.pk}/now/")
    assert "no longer read" in say(alice, bot, f"harvests/{harvest.pk}/switch/", active="0")
    assert "switched off" in say(alice, bot, f"harvests/{harvest.pk}/now/")
    assert "read again" in say(alice, bot, f"harvests/{harvest.pk}/switch/", active="1")
    assert "stays as a dataset" in say(alice, bot, f"harvests/{harvest.pk}/remove/")
    assert not Harvest.objects.exists()


AGAIN = {"active": "on", "every_hours": 12, "least_new_examples": 30, "most_loss_increase": "0.05", "tag": "n-%d"}


def test_training_again_is_set_with_the_settings_of_its_runs(alice: Client, bot: Bot) -> None:
    assert "Off" in see(alice, bot, "retraining/")
    say(alice, bot, "retraining/set/", **AGAIN, **{"again-max_epochs": "2", "again-checkpoint_activations": "true"})
    row = Retraining.objects.get()
    assert (row.active, row.every_hours, row.tag, row.make_current) == (True, 12, "n-%d", False)
    assert row.config == {"max_epochs": 2.0, "checkpoint_activations": True}
    shown = see(alice, bot, "retraining/")
    assert 'name="again-max_epochs" value="2.0"' in shown
    assert '<option value="true" selected>' in shown
    assert "letters, digits" in say(alice, bot, "retraining/set/", 400, **AGAIN | {"tag": "a b"})
    assert "must be at least 1" in say(
        alice, bot, "retraining/set/", 400, **AGAIN, **{"again-samples_per_evaluation": "0"}
    )


def test_posts_are_written_ahead(alice: Client, bot: Bot) -> None:
    assert "This bot has no model yet" in see(alice, bot, "write-ahead/")
    make_version(bot)
    assert "The posts are being written" in say(alice, bot, "write-ahead/", count=40, temperature="0.7")
    assert [(each.count, each.params["temperature"]) for each in Generation.objects.order_by("created_at")] == [
        (32, 0.7), (8, 0.7),
    ]  # fmt: skip
    assert "40 posts still to be written" in see(alice, bot, "write-ahead/")


def test_a_file_is_previewed_and_added(alice: Client, bot: Bot, moderator: Client) -> None:
    lines = "\ufeffA heron in the canal said nothing\r\n\r\n" + "x" * 300 + "\r\nla la la la la la\r\n"
    file = SimpleUploadedFile("posts.txt", lines.encode())
    shown = say(alice, bot, "queue/import/", file=file)
    assert "Add 2 posts" in shown
    assert "takes at most 280" in shown
    assert "The text repeats itself." in shown
    assert not Post.objects.exists()
    added = say(alice, bot, "queue/import/", lines=lines, add="1", approve="on")
    assert "2 posts added, 1 approved. 1 waits for review." in added
    assert "Nothing was added" in say(alice, bot, "queue/import/", lines=lines, add="1")
    assert "Choose a file, or paste the posts." in say(alice, bot, "queue/import/", 400)
    assert "no UTF-8" in say(alice, bot, "queue/import/", 400, file=SimpleUploadedFile("posts.txt", b"\xff"))
    assert moderator.post(f"/o/acme/bots/{bot.pk}/queue/import/", {"lines": "x"}).status_code == 403


def test_the_queue_is_seen_moved_decided_and_ordered(alice: Client, bot: Bot, moderator: Client) -> None:
    first, second = (make_post(bot, "approved", f"Harbour story {n} of the night") for n in range(2))
    third, _ = (make_post(bot, "pending_review", f"Canal story {n} of the day") for n in range(2))
    shown = see(alice, bot, "queue/")
    assert shown.index(first.text) < shown.index(second.text)
    assert "2 posts wait for review." in shown
    shown = say(alice, bot, f"queue/{second.pk}/move/", to="up")
    assert shown.index(second.text) < shown.index(first.text)
    answer = alice.post(f"/o/acme/bots/{bot.pk}/queue/{first.pk}/move/", {"to": "top"}, headers={"HX-Request": "true"})
    shown = answer.content.decode()
    assert shown.index(first.text) < shown.index(second.text)

    assert "Tick the posts" in say(alice, bot, "queue/remove/")
    assert moderator.post(f"/o/acme/bots/{bot.pk}/queue/remove/", {"post": str(third.pk)}).status_code == 403
    words = say(alice, bot, "queue/remove/", post=[str(third.pk), str(bot.pk)])
    assert "Removed: 1. Left as they are, since they moved on meanwhile: 1." in words
    assert "1 post waits for review." in see(alice, bot, "queue/")
    assert "have new slots" in say(alice, bot, "queue/order/", order="random")
    assert "drawn by lot" in say(alice, bot, f"queue/{first.pk}/move/", to="up")
    assert "given, random" in say(alice, bot, "queue/order/", order="odd")


def test_another_bots_post_cannot_be_moved_here(alice: Client, world: World, bot: Bot) -> None:
    from tests.factories import make_bot

    with tenant(world.acme.pk):
        stranger = make_post(make_bot(), "approved")
    assert alice.post(f"/o/acme/bots/{bot.pk}/queue/{stranger.pk}/move/", {"to": "up"}).status_code == 404
