"""The pages on which somebody chooses what is left out of a dataset, and what a run learns from."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.tenancy import tenant
from bots.models import Bot
from tests.factories import World, client_of, make_dataset
from training.models import Dataset, Example, Run
from training.services import datasets

POSTS = "text,parent_text\nRT @ann: look,\na post of mine,what is it?\nanother post of mine,\nRT @bob: no,\n"


@pytest.fixture
def alice(world: World) -> Client:
    return client_of(world.alice)


@pytest.fixture
def uploaded(bot: Bot) -> Dataset:
    file = SimpleUploadedFile("posts.csv", POSTS.encode())
    return datasets.upload_dataset(bot, file, name="Mine", source="me", licence="mine", may_learn=True)


def address(bot: Bot, rest: str) -> str:
    return f"/o/acme/bots/{bot.pk}/{rest}"


def test_filters_are_chosen_on_the_preview(alice: Client, bot: Bot, uploaded: Dataset) -> None:
    page = address(bot, f"datasets/{uploaded.pk}/preview/")
    before = alice.get(page)
    assert "Leaves out" not in before.content.decode().replace("Leaves out no row", "")
    answer = alice.post(page, {"filters": "1", "reposts": "on", "too_short": "on", "too_short-min_words": "4"})
    shown = answer.content.decode()
    assert "Leaves out 2 rows" in shown
    assert "row 2, a repost:" in shown
    assert "RT @ann: look" in shown
    assert "what is it?" in shown
    assert "<dt>rows to import</dt><dd>2</dd>" in shown
    with tenant(uploaded.organization_id):
        uploaded.refresh_from_db()
        assert uploaded.preview["chosen"] == {"reposts": {}, "too_short": {"min_words": 4.0}}


def test_a_viewer_changes_nothing(world: World, bot: Bot, uploaded: Dataset) -> None:
    page = address(bot, f"datasets/{uploaded.pk}/preview/")
    client_of(world.bob).post(page, {"filters": "1", "reposts": "on"})
    with tenant(uploaded.organization_id):
        uploaded.refresh_from_db()
        assert uploaded.preview["chosen"] == {"duplicates": {}}


def test_a_dataset_in_numbers(alice: Client, bot: Bot, uploaded: Dataset) -> None:
    datasets.request_import(uploaded.pk)
    datasets.import_dataset(uploaded.pk)
    shown = alice.get(address(bot, f"datasets/{uploaded.pk}/")).content.decode()
    assert "<dt>answers</dt><dd>1</dd>" in shown
    assert "in answer to: what is it?" in shown


@pytest.mark.parametrize(
    ("weights", "expected"), [("1, 2.5", [1.0, 2.5]), ("", [1.0, 1.0]), ("1", None), ("one, two", None), ("1, 0", None)]
)
def test_a_run_learns_from_several_datasets(
    alice: Client, bot: Bot, rung: Any, weights: str, expected: list[float] | None
) -> None:
    pair = [make_dataset(bot, examples=20, name=name) for name in ("First", "Second")]
    answer = alice.post(
        address(bot, "runs/start/"),
        {
            "kind": "offline",
            "dataset": [str(dataset.pk) for dataset in pair],
            "weights": weights,
            "mixing": "equal",
            "algorithm": "reward_model_rloo",
            "max_epochs": "1",
        },
    )
    if expected is None:
        assert answer.status_code == 400
        assert not Run.objects.exists()
        return
    run = Run.objects.get()
    assert sorted(run.sources.values_list("weight", flat=True)) == expected
    assert run.config["mixing"] == "equal"
    assert Example.objects.filter(dataset__uses__run=run).count() == 40
