"""Starting runs: what is refused, with which words, and who is told."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot
from tests.factories import World, make_bot, make_dataset, make_run, make_version
from training.engine.round_types import ALGORITHM_LABELS
from training.models import Dataset, Run
from training.services import runs
from training.settings_schema import EXTRAS


def refusal(error: pytest.ExceptionInfo[ValidationError]) -> str:
    return " ".join(error.value.messages)


def test_a_run_is_queued_with_its_whole_configuration_and_rung_for(
    bot: Bot, dataset: Dataset, rung: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run = runs.start_finetune(bot, dataset, {"max_epochs": 2}, then_online={"queue_ahead": 5})
    run.refresh_from_db()
    assert (run.state, run.kind, run.wish) == ("queued", "offline", "run")
    assert run.config["max_epochs"] == 2.0
    assert run.config["learning_rate"] == 5e-4
    assert run.then_online["queue_ahead"] == 5
    assert run.then_online["algorithm"] == "reward_model_rloo"
    assert rung == [("training.tasks.gpu_advance_run", str(bot.organization_id), str(run.pk))]
    assert AuditEntry.objects.filter(action="run.start", object_id=str(run.pk)).count() == 1


@pytest.mark.parametrize("state", ["uploaded", "importing", "refused"])
def test_a_dataset_that_is_not_ready_is_refused(bot: Bot, state: str) -> None:
    with pytest.raises(ValidationError) as error:
        runs.start_finetune(bot, make_dataset(bot, state, examples=40))
    assert refusal(error) == "Choose a dataset of this bot that has been imported."
    assert not Run.objects.exists()


def test_another_bots_dataset_is_refused(bot: Bot) -> None:
    with pytest.raises(ValidationError, match="a dataset of this bot"):
        runs.start_finetune(bot, make_dataset(make_bot(), examples=40))


def test_posts_that_nobody_allowed_to_learn_from_are_refused_and_the_refusal_is_on_record(bot: Bot) -> None:
    dataset = make_dataset(bot, examples=40, may_learn=False)
    with pytest.raises(ValidationError, match="may_learn"):
        runs.start_finetune(bot, dataset)
    entry = AuditEntry.objects.get(action="run.refused")
    assert (entry.object_type, entry.object_id) == ("dataset", str(dataset.pk))


@pytest.mark.django_db(transaction=True)
def test_the_record_of_a_refusal_is_committed(world: World) -> None:
    with tenant(world.acme.pk):
        bot = make_bot()
        dataset = make_dataset(bot, examples=40, may_learn=False)
        with pytest.raises(ValidationError):
            runs.start_finetune(bot, dataset)
        assert AuditEntry.objects.filter(action="run.refused").count() == 1


def test_reactions_that_nobody_allowed_to_learn_from_are_refused_at_the_start(bot: Bot, dataset: Dataset) -> None:
    bot.connection.may_learn = False
    bot.connection.save()
    with pytest.raises(ValidationError, match="this account's reactions"):
        runs.start_finetune(bot, dataset, then_online={})
    with pytest.raises(ValidationError, match="this account's reactions"):
        runs.start_online(bot, make_version(bot))
    assert not Run.objects.exists()


def test_too_few_posts_are_refused(bot: Bot) -> None:
    with pytest.raises(ValidationError) as error:
        runs.start_finetune(bot, make_dataset(bot, examples=19))
    assert refusal(error) == "The dataset has 19 posts; fine-tuning needs at least 20."
    assert runs.start_finetune(bot, make_dataset(bot, examples=20)).state == "queued"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"learning_rat": 0.1}, "There is no setting “learning_rat”. Did you mean “learning_rate”?"),
        ({"colour": 1}, "There is no setting “colour”."),
        ({"context": "wide"}, "“context” must be a whole number."),
        ({"context": 16.5}, "“context” must be a whole number."),
        ({"context": True}, "“context” must be a whole number."),
        ({"max_epochs": None}, "“max_epochs” must be a number."),
        ({"max_epochs": 0}, "“max_epochs” must lie between 0.01 and 1000."),
        ({"learning_rate": float("nan")}, "“learning_rate” must lie between 0.0 and 1.0."),
        ({"seed": -1}, f"“seed” must lie between 0 and {2**63 - 1}."),
        ([], "Give the configuration as an object of names and values."),
    ],
)
def test_a_wrong_setting_of_fine_tuning_is_named(bot: Bot, dataset: Dataset, config: Any, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        runs.start_finetune(bot, dataset, config or [1])
    assert refusal(error) == words
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"queue_ahed": 3}, "There is no setting “queue_ahed”. Did you mean “queue_ahead”?"),
        ({"queue_ahead": 0}, "“queue_ahead” must lie between 1 and 1000."),
        ({"baseline_share": 0.95}, "“baseline_share” must lie between 0.0 and 0.9."),
        ({"algorithm": 3}, "“algorithm” must be a text."),
        ({"algorithm": "magic"}, f"There is no algorithm “magic”. Known are: {', '.join(ALGORITHM_LABELS)}."),
        ({"extra": 5}, "“extra” must be an object whose values are numbers."),
        ({"extra": {"seed": "one"}}, "“extra” must be an object whose values are numbers."),
        (
            {"extra": {"departur_weight": 1}},
            (
                "There is no extra number “departur_weight”. Did you mean “departure_weight”? "
                f"Known are: {', '.join(EXTRAS)}."
            ),
        ),
        ({"min_length": 90, "max_length": 80}, "“min_length” must not be larger than “max_length”."),
        (
            {"min_length": 300, "max_length": 500},
            "“min_length” must not be larger than “max_length”, which is 280 at most on this bot's platform.",
        ),
    ],
)
def test_a_wrong_setting_of_online_learning_is_named_before_anything_starts(
    bot: Bot, dataset: Dataset, config: dict[str, Any], words: str
) -> None:
    for start in (
        lambda: runs.start_online(bot, make_version(bot), config),
        lambda: runs.start_finetune(bot, dataset, then_online=config),
    ):
        with pytest.raises(ValidationError) as error:
            start()
        assert refusal(error) == words
    assert not Run.objects.exists()


def test_posts_are_never_longer_than_the_platform_takes(bot: Bot) -> None:
    run = runs.start_online(bot, make_version(bot), {"max_length": 5000})
    assert run.config["max_length"] == bot.connection.capabilities.max_length == 280


@pytest.mark.parametrize("state", ["queued", "running", "paused"])
def test_one_run_of_a_bot_at_a_time(bot: Bot, dataset: Dataset, state: str) -> None:
    living = make_run(bot, state=state, dataset=dataset)
    with pytest.raises(ValidationError, match="Another run of this bot is under way"):
        runs.start_finetune(bot, dataset)
    with pytest.raises(ValidationError, match="Another run of this bot is under way"):
        runs.start_online(bot, make_version(bot))
    other = make_bot()
    runs.start_finetune(other, make_dataset(other, examples=40))
    living.state = "finished"
    living.save()
    assert runs.start_finetune(bot, dataset).state == "queued"


def test_another_bots_version_is_no_start(bot: Bot) -> None:
    with pytest.raises(ValidationError, match="a model version of this bot"):
        runs.start_online(bot, make_version(make_bot()))


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_a_run_that_is_over_takes_no_wishes(bot: Bot, state: str) -> None:
    run = make_run(bot, state=state)
    for wish in (runs.pause_run, runs.stop_run, runs.resume_run):
        with pytest.raises(ValidationError, match=rf"This run is over \({state}\): start a new one."):
            wish(run.pk)
