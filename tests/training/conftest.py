from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts.tenancy import tenant
from bots.models import Bot
from tests.factories import World, make_bot, make_dataset, make_world
from tests.training.fake_engine import FakeEngine
from training.models import Dataset, ModelVersion, Run
from training.services import runs
from training.services.worker import advance_run


@pytest.fixture
def folders(tmp_path: Path, settings: Any) -> Path:
    """Files of one test stay in its own folder."""
    settings.VAR = tmp_path / "var"
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Every doorbell that was rung, in order: the task and its ids."""
    bells: list[tuple[str, ...]] = []

    def send_task(task: str, args: list[str], **options: object) -> None:
        bells.append((task, *map(str, args)))

    monkeypatch.setattr("celery.current_app.send_task", send_task)
    return bells


@pytest.fixture
def world(db: None, folders: Path) -> World:
    return make_world()


@pytest.fixture
def acme(world: World) -> Iterator[World]:
    """Within Acme."""
    with tenant(world.acme.pk):
        yield world


@pytest.fixture
def bot(acme: World) -> Bot:
    return make_bot(name="Writer", approval="auto")


@pytest.fixture
def dataset(bot: Bot) -> Dataset:
    return make_dataset(bot, examples=40)


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "engine")


ONLINE = {"queue_ahead": 8, "min_new_scores": 4, "baseline_share": 0.25}


@pytest.fixture
def start(bot: Bot, dataset: Dataset, engine: FakeEngine) -> ModelVersion:
    """A fine-tuned version with weights."""
    advance_run(runs.start_finetune(bot, dataset).pk, engine)
    return ModelVersion.objects.get()


@pytest.fixture
def run(bot: Bot, start: ModelVersion) -> Run:
    """Online learning that has not played a round yet."""
    return runs.start_online(bot, start, ONLINE)
