"""Runs from presets over the API."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.tenancy import tenant
from bots.models import Bot, ReplyRules
from tests.api.client import Api
from tests.api.test_tokens import Program
from tests.factories import World, make_bot, make_dataset, make_version
from training.models import Dataset, Example, Run


@pytest.fixture
def bot(world: World) -> Bot:
    with tenant(world.acme.pk):
        bot = make_bot()
        make_version(bot)
        return bot


@pytest.fixture
def pairs(bot: Bot) -> Dataset:
    """Comment–reply pairs with scores, each by somebody else."""
    with tenant(bot.organization_id):
        dataset = make_dataset(bot, examples=700)
        rows = list(Example.objects.all())
        for row in rows:
            row.context, row.author, row.score = f"Comment {row.position}", f"author {row.position}", row.position % 9.0
        Example.objects.bulk_update(rows, ["context", "author", "score"])
        return dataset


def body_of(dataset: Dataset, **more: Any) -> dict[str, Any]:
    return {"bot": str(dataset.bot_id), "kind": "offline", "dataset": str(dataset.pk), "preset": "stedden", **more}


def test_stedden_is_picked_once(api: Api, pairs: Dataset) -> None:
    status, run, lines = api("post", "runs/", body_of(pairs, config={"seed": 5}))
    assert (status, lines) == (201, ["run.start", "replies.change"])
    assert (run["config"]["conditions"], run["config"]["heldout_author_share"], run["config"]["seed"]) == (
        "context",
        0.2,
        5,
    )
    rules = api("get", f"reply-rules/{pairs.bot_id}/")[1]
    assert (rules["candidates"], rules["least_realism"], rules["active"]) == (10, 0.9, False)
    assert (rules["youngest_minutes"], rules["every_minutes"]) == (1, 10)


def test_a_token_without_the_scope_changes_nothing(world: World, pairs: Dataset) -> None:
    program = Program(world, world.alice, scopes=["run_control", "run_view"])
    assert program("post", "runs/", body_of(pairs)).status_code == 403
    with tenant(world.acme.pk):
        assert (Run.objects.count(), ReplyRules.objects.count()) == (0, 0)


def test_what_the_dataset_lacks_is_named(api: Api, pairs: Dataset) -> None:
    with tenant(pairs.organization_id):
        Example.objects.update(context="")
    status, answer, lines = api("post", "runs/", body_of(pairs))
    assert (status, list(answer["errors"]), lines) == (400, ["dataset"], [])
    assert "None of these posts says what it answers" in str(answer)


def test_a_preset_of_online_learning_is_a_start_that_the_config_wins_over(api: Api, bot: Bot) -> None:
    online = {"bot": str(bot.pk), "kind": "online", "preset": "ten_drafts", "config": {"temperature": 0.6}}
    status, run, _ = api("post", "runs/", online)
    assert status == 201
    config = run["config"]
    assert (config["algorithm"], config["candidates_per_post"], config["temperature"]) == ("best_of_n", 10, 0.6)
    status, answer, _ = api("post", "runs/", online | {"preset": "stedden"})
    assert (status, list(answer["errors"])) == (400, ["preset"])
