"""Critics are trained with a version, kept in its folder, and cost it nothing when they fail."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage

from bots.models import Bot
from tests.training.fake_engine import FakeEngine
from training import configs
from training.engine.errors import EngineError
from training.engine.types import Conditions
from training.models import Dataset, Example, ModelVersion
from training.services import critics, runs
from training.services.worker import advance_run


@pytest.fixture
def version(bot: Bot, dataset: Dataset, engine: FakeEngine) -> ModelVersion:
    Example.objects.filter(position=3).update(score=12.0, author="ann", community="tea", context="What do you drink?")
    run = runs.start_finetune(bot, dataset, {"seed": 3})
    advance_run(run.pk, engine)
    version: ModelVersion = ModelVersion.objects.get()
    return version


def test_a_version_comes_with_its_critics(version: ModelVersion, engine: FakeEngine) -> None:
    assert version.report["discriminator"] == {"trained": True, "auc": 0.75}
    assert default_storage.exists(f"{version.folder}/discriminator.safetensors")
    ((learned, heldout, seed),) = engine.critics
    assert (len(learned), len(heldout), seed) == (36, 4, 3)
    assert [post.text for post in heldout] == [f"Past post number {number}" for number in range(36, 40)]
    (answer,) = [post for post in learned if post.conditions.author == "ann"]
    assert answer.score == 12.0
    assert answer.conditions == Conditions("ann", "tea", "", "What do you drink?")


def test_only_the_newest_posts_are_learned_from(
    monkeypatch: pytest.MonkeyPatch, bot: Bot, dataset: Dataset, engine: FakeEngine
) -> None:
    monkeypatch.setattr(critics, "MOST_POSTS", 5)
    advance_run(runs.start_finetune(bot, dataset, {}).pk, engine)
    assert [post.text for post in engine.critics[0][0]] == [f"Past post number {number}" for number in range(31, 36)]


def test_a_critic_that_fails_costs_the_version_nothing(bot: Bot, dataset: Dataset, engine: FakeEngine) -> None:
    engine.critics_fault = EngineError("The memory is full.")
    run = runs.start_finetune(bot, dataset, {})
    advance_run(run.pk, engine)
    run.refresh_from_db()
    version = ModelVersion.objects.get()
    assert run.state == "finished"
    assert version.is_current
    assert version.report["discriminator"] == {"trained": False, "reason": "The memory is full."}


def test_replies_are_ranked_by_the_critics_of_the_fine_tuned_version(version: ModelVersion, engine: FakeEngine) -> None:
    (ranking,) = critics.rank_replies(version, ["What do you drink?"], engine, seed=4)
    assert ranking.context == "What do you drink?"
    assert [reply.text for reply in ranking.replies] == [f"critic 4 {at}" for at in range(critics.CANDIDATES)]


def test_reward_models_are_chosen_by_name() -> None:
    assert configs.online({"reward_model": "neural_ensemble"}).engine().reward_model == "neural_ensemble"
    with pytest.raises(Exception, match="bayesian_linear, neural_ensemble"):
        configs.online({"reward_model": "oracle"})
