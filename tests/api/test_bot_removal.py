"""Deleting a bot over the API: what stands in its way, what goes with it, what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from accounts.models import AuditEntry
from accounts.tenancy import TenantModel, tenant
from bots.models import Bot, Post
from bots.services import removal
from bots.states import IN_FLIGHT, PostState
from tests.api.client import Api
from tests.everything import Everything, make_everything
from tests.factories import World, make_bot, make_post, make_run
from training.models import Canary, Dataset, ModelVersion, Run


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, settings: Any) -> None:
    settings.VAR, settings.MEDIA_ROOT = tmp_path / "var", tmp_path / "media"


@pytest.fixture
def settled(world: World, made: Everything) -> Everything:
    """A bot with everything, and nothing of it under way."""
    with tenant(world.acme.pk):
        Run.objects.filter(pk=made.online_run.pk).update(state="stopped")
        Canary.objects.update(state="ended")
        Post.objects.filter(state__in=IN_FLIGHT).delete()
    return made


@pytest.mark.parametrize("state", sorted(IN_FLIGHT))
def test_a_post_on_its_way_keeps_the_bot(world: World, api: Api, bot: Bot, state: PostState) -> None:
    with tenant(world.acme.pk):
        make_post(bot, state)
    status, body, lines = api("delete", f"bots/{bot.pk}/?history=discard")
    assert (status, "on their way" in body["detail"], lines) == (409, True, [])


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
def test_a_living_run_keeps_the_bot(world: World, api: Api, bot: Bot, state: str) -> None:
    with tenant(world.acme.pk):
        make_run(bot, state=state)
    status, body, lines = api("delete", f"bots/{bot.pk}/")
    assert (status, "stop it first" in body["detail"], lines) == (409, True, [])


def test_an_import_under_way_keeps_the_bot(world: World, api: Api, bot: Bot) -> None:
    with tenant(world.acme.pk):
        Dataset.objects.create(bot=bot, name="x", source="x", licence="x", filename="x", state="importing")
    assert api("delete", f"bots/{bot.pk}/")[0] == 409


def test_a_bot_that_published_is_retired_unless_its_record_is_given_up(api: Api, settled: Everything) -> None:
    status, body, lines = api("delete", f"bots/{settled.bot.pk}/")
    assert (status, "Pause it to retire it" in body["detail"], lines) == (409, True, [])
    assert api("delete", f"bots/{settled.bot.pk}/?history=discard")[0] == 204


def test_everything_of_the_bot_goes_and_nothing_else(
    world: World, api: Api, settled: Everything, django_capture_on_commit_callbacks: Any
) -> None:
    bot = settled.bot
    with tenant(world.acme.pk):
        other = make_bot()
        kept = make_post(other)
        settled.dataset.file.save("posts.csv", ContentFile(b"text\n"))
        for name in ("model.safetensors", "config.json"):
            default_storage.save(f"{settled.version.folder}/{name}", ContentFile(b"x"))
        files = [settled.dataset.file.name, settled.image.file.name, f"{settled.version.folder}/model.safetensors"]
        paths = removal._owned()
        before = {model: model._default_manager.filter(**{path: bot}).count() for model, path in paths.items()}
    assert {model._meta.model_name for model, count in before.items() if not count} == set()
    assert all(default_storage.exists(name) for name in files)
    with django_capture_on_commit_callbacks(execute=True):
        status, _, lines = api("delete", f"bots/{bot.pk}/?history=discard")
    assert (status, lines) == (204, ["bot.delete"])
    with tenant(world.acme.pk):
        assert [model for model, path in paths.items() if model._default_manager.filter(**{path: bot}).exists()] == []
        assert list(Post.objects.all()) == [kept]
        assert list(Bot.objects.all()) == [other]
        line = AuditEntry.objects.get(action="bot.delete")
    assert (line.before["name"], line.before["rows"]["modelversion"]) == ("Headline writer", 2)
    assert [name for name in files if default_storage.exists(name)] == []
    assert not default_storage.exists(settled.version.folder)
    assert api("get", f"bots/{bot.pk}/")[0] == 404


def test_another_organizations_rows_stay(world: World, api: Api, settled: Everything) -> None:
    with tenant(world.globex.pk):
        theirs = make_everything()
        before = _counts()
    assert api("delete", f"bots/{settled.bot.pk}/?history=discard")[0] == 204
    with tenant(world.globex.pk):
        assert _counts() == before
        assert ModelVersion.objects.filter(pk=theirs.version.pk).exists()


def _counts() -> dict[str, int]:
    models = [model for model in apps.get_models() if issubclass(model, TenantModel)]
    return {model.__name__: model.objects.count() for model in models}
