"""Critics are trained with a version, kept in its folder, and cost it nothing when they fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
    ((posts, seed),) = engine.critics
    assert (len(posts), seed) == (40, 3)
    assert [post.text for post in posts if post.unseen] == [f"Past post number {number}" for number in range(36, 40)]
    (answer,) = [post for post in posts if post.conditions.author == "ann"]
    assert answer.score == 12.0
    assert answer.conditions == Conditions("ann", "tea", "", "What do you drink?")


def test_only_the_newest_posts_are_learned_from(
    monkeypatch: pytest.MonkeyPatch, bot: Bot, dataset: Dataset, engine: FakeEngine
) -> None:
    monkeypatch.setattr(critics, "MOST_POSTS", 5)
    advance_run(runs.start_finetune(bot, dataset, {}).pk, engine)
    told = engine.critics[0][0]
    assert [post.text for post in told] == [f"Past post number {number}" for number in range(31, 40)]


def test_posts_stand_in_order_of_time_whoever_has_seen_them(bot: Bot, dataset: Dataset, engine: FakeEngine) -> None:
    """Authors who are kept out wrote long ago too; a post without a time is not held for the newest."""
    for example in Example.objects.all():
        at = None if example.position == 25 else datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=example.position)
        Example.objects.filter(pk=example.pk).update(author=f"author {example.position % 20}", posted_at=at)
    advance_run(runs.start_finetune(bot, dataset, {"heldout_author_share": 0.05}).pk, engine)
    (posts, _) = engine.critics[0]
    numbers = [int(post.text.rpartition(" ")[2]) for post in posts]
    assert numbers == [25, *(number for number in range(40) if number != 25)]
    trained = set(engine.trained[0]["train"])
    assert [post.unseen for post in posts] == [post.text not in trained for post in posts]
    strangers = engine.trained[0]["heldout_authors"]
    assert min(place for place, post in enumerate(posts) if post.text in strangers) < 20


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
