"""The switch of the whole installation, and of an organization: no send begins while one of them is off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts import site
from accounts.models import AuditEntry, Site
from accounts.services import pause_organization
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import delivery, scheduling
from bots.services.bots import pause_bot
from bots.states import PostState
from faces.contract import Face
from tests.factories import World, client_of, make_bot, make_connection, make_post, make_user
from tests.fake_platform import FakePlatform


@pytest.fixture(autouse=True)
def _own_data_folder(settings: Any, tmp_path: Path) -> None:
    settings.VAR = tmp_path


@pytest.fixture
def bot(world: World) -> Iterator[Bot]:
    with tenant(world.acme.pk):
        yield make_bot(make_connection("fake"))


def test_nothing_is_queued_while_the_site_is_paused(bot: Bot) -> None:
    make_post(bot, "scheduled", slot_utc=timezone.now())
    call_command("pause", reason="A platform asked us to.")
    assert scheduling.queue_due() == 0
    call_command("resume")
    assert scheduling.queue_due() == 1


def test_a_due_post_is_held_while_the_site_is_paused(
    bot: Bot, platform: FakePlatform, without_keys: type[Face]
) -> None:
    post = make_post(bot, "queued")
    site.pause_site("A platform asked us to.")
    assert delivery.deliver_post(post.pk) == PostState.QUEUED
    post.refresh_from_db()
    assert (post.last_error, platform.published, post.attempts) == ("A platform asked us to.", [], 0)
    assert post.not_before is not None
    assert post.not_before - timezone.now() < timedelta(seconds=6)

    site.resume_site()
    Post.objects.update(not_before=None)
    assert delivery.deliver_post(post.pk) == PostState.PUBLISHED


@pytest.mark.parametrize("who", ["site", "organization", "bot"])
def test_a_switch_thrown_after_the_claim_is_felt_before_the_intent(
    bot: Bot, platform: FakePlatform, without_keys: type[Face], monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    post, ordinary = make_post(bot, "queued"), delivery.outgoing

    def slowly(claimed: Post) -> Any:
        if who == "site":
            site.pause_site()
        elif who == "organization":
            pause_organization(bot.organization)
        else:
            pause_bot(bot)
        monkeypatch.setattr(delivery, "FRESH", 0.0)  # so long ago was it read
        return ordinary(claimed)

    monkeypatch.setattr(delivery, "outgoing", slowly)
    assert delivery.deliver_post(post.pk) == PostState.QUEUED
    assert platform.published == []


@pytest.mark.usefixtures("bot", "without_keys")
def test_every_page_says_so(world: World) -> None:
    alice = client_of(world.alice)
    assert b"Nothing is published in this installation" not in alice.get("/o/acme/").content
    site.pause_site("A platform <asked> us to.")
    for page in ("/o/acme/", "/o/acme/connections/", "/o/acme/needs-human/"):
        assert b"Nothing is published in this installation. A platform &lt;asked&gt; us to." in alice.get(page).content


def test_operators_throw_it_in_their_panel(db: None) -> None:
    operator = client_of(make_user(is_staff=True, is_superuser=True))
    assert operator.get("/operator/accounts/site/").status_code == 200
    for action, expected in (("pause", True), ("resume", False)):
        operator.post("/operator/accounts/site/", {"action": action, "_selected_action": ["1"]})
        assert bool(site.paused()) is expected
    assert operator.get("/operator/accounts/site/add/").status_code == 403
    assert operator.post("/operator/accounts/site/1/delete/", {"post": "yes"}).status_code == 403
    assert Site.objects.count() == 1


@pytest.mark.usefixtures("bot", "without_keys")
def test_an_organization_is_stopped_by_whoever_may_pause(world: World) -> None:
    alice, bob = client_of(world.alice), client_of(world.bob)
    assert bob.post("/o/acme/pause/").status_code == 403
    assert "Pause all publishing" in alice.get("/o/acme/").content.decode()
    page = alice.post("/o/acme/pause/", follow=True).content.decode()
    assert "Acme is paused since" in page
    assert "Resume publishing" in page
    assert "Resume publishing" not in bob.get("/o/acme/").content.decode()
    assert "is paused since" not in alice.post("/o/acme/resume/", follow=True).content.decode()
    with tenant(world.acme.pk):
        lines = AuditEntry.objects.filter(action__startswith="organization.").order_by("pk")
        assert list(lines.values_list("action", "actor"))[-2:] == [
            ("organization.pause", "alice@kilroy.example"),
            ("organization.resume", "alice@kilroy.example"),
        ]


def test_an_organization_is_stopped_over_the_api(world: World) -> None:
    alice, address = client_of(world.alice), "/api/v1/organizations/acme/publishing/"
    assert alice.get(address).json() == {"paused_at": None, "site_paused": "", "needs_human": 0}
    assert alice.post(f"{address}pause/").json()["paused_at"] is not None
    assert alice.post(f"{address}resume/").json()["paused_at"] is None
    assert client_of(world.bob).post(f"{address}pause/").status_code == 403
