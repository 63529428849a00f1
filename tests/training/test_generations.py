"""Texts on request: asked for, answered by a worker, refused, failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts.models import AuditEntry
from bots.models import Bot
from tests.factories import make_bot, make_generation, make_version
from tests.training.fake_engine import FakeEngine
from training.engine.errors import EngineError
from training.models import Dataset, Generation, ModelVersion
from training.services import generations, runs
from training.services.worker import advance_run


@pytest.fixture
def version(bot: Bot, dataset: Dataset, engine: FakeEngine) -> ModelVersion:
    advance_run(runs.start_finetune(bot, dataset).pk, engine)
    return ModelVersion.objects.get()


def answer(generation: Generation, engine: FakeEngine) -> Generation:
    generations.answer_generation(generation.pk, engine)
    generation.refresh_from_db()
    return generation


def test_a_request_is_a_row_and_a_bell(
    bot: Bot, version: ModelVersion, rung: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        generation = generations.request_generation(bot, prompt="Why ", count=3, params={"top_k": 5, "seed": 9})
    assert (generation.state, generation.version, generation.count) == ("queued", version, 3)
    assert generation.params == {"top_k": 5, "seed": 9}
    assert rung == [("training.tasks.gpu_answer_generation", str(bot.organization_id), str(generation.pk))]
    assert AuditEntry.objects.get(action="generation.request").after["n"] == 3


def test_a_worker_answers_with_texts(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    asked = generations.request_generation(bot, prompt="Why ", count=2, params={"seed": 9, "temperature": 0.5})
    answered = answer(asked, engine)
    assert answered.state == "done"
    assert answered.finished_at is not None
    text = f"Why fine-tuned {version.run_id} 9"
    assert answered.samples == [
        {"text": f"{text} 0", "logprob": -0.5, "ended": True, "tokens": 3},
        {"text": f"{text} 1", "logprob": -0.5, "ended": True, "tokens": 3},
    ]


def test_one_seed_gives_one_answer_and_no_seed_a_new_one_that_is_told(
    bot: Bot, version: ModelVersion, engine: FakeEngine
) -> None:
    def texts(params: dict[str, Any] | None) -> tuple[Any, Any]:
        answered = answer(generations.request_generation(bot, params=params), engine)
        return answered.samples, answered.params["seed"]

    assert texts({"seed": 4}) == texts({"seed": 4})
    first, second = texts(None), texts(None)
    assert first != second
    assert texts({"seed": first[1]}) == first


def test_an_older_version_can_be_asked(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    newer = make_version(bot)
    newer.folder = version.folder
    asked = generations.request_generation(bot, version=newer)
    assert asked.version == newer
    assert generations.request_generation(bot).version == version


def test_a_bot_without_a_model_cannot_be_asked(bot: Bot) -> None:
    with pytest.raises(ValidationError, match="This bot has no model yet: fine-tune one first"):
        generations.request_generation(bot)


def test_another_bots_version_cannot_be_asked(bot: Bot, version: ModelVersion) -> None:
    with pytest.raises(ValidationError, match="Choose a model version of this bot"):
        generations.request_generation(bot, version=make_version(make_bot()))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"count": 0}, "Between 1 and 64 texts can be asked for at once."),
        ({"count": 65}, "Between 1 and 64 texts can be asked for at once."),
        ({"prompt": "x" * 1001}, "A prompt has at most 1,000 characters, none of them NUL."),
        ({"prompt": "\0"}, "A prompt has at most 1,000 characters, none of them NUL."),
        ({"params": {"top_p": 0}}, "“top_p” must lie between 0.0001 and 1.0."),
        ({"params": {"top_p": "much"}}, "“top_p” must be a number."),
        ({"params": {"top_k": -1}}, "“top_k” must lie between 0 and 1000000."),
        ({"params": {"temperature": float("inf")}}, "“temperature” must lie between 0.0 and 5.0."),
        ({"params": {"max_new_tokens": 0}}, "“max_new_tokens” must lie between 1 and 1024."),
        ({"params": {"seed": 2**63}}, f"“seed” must lie between 0 and {2**63 - 1}."),
        ({"params": {"temprature": 1}}, "There is no setting “temprature”. Did you mean “temperature”?"),
    ],
)
def test_a_wrong_request_is_refused_with_words(
    bot: Bot, version: ModelVersion, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as error:
        generations.request_generation(bot, **asked)
    assert error.value.messages == [words]
    assert not Generation.objects.exists()


def test_a_fault_of_the_engine_is_the_answer(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    engine.fault = EngineError("The weights are damaged.")
    answered = answer(generations.request_generation(bot), engine)
    assert (answered.state, answered.error, answered.samples) == ("failed", "The weights are damaged.", [])
    assert answered.finished_at is not None


def test_lost_weights_are_the_answer(bot: Bot, version: ModelVersion, engine: FakeEngine, folders: Path) -> None:
    (folders / "media" / version.folder / "model.safetensors").unlink()
    answered = answer(generations.request_generation(bot), engine)
    assert answered.state == "failed"
    assert answered.error == f"The weights of {version.folder} are not in the artifact storage."


@pytest.mark.parametrize("state", ["done", "failed"])
def test_a_second_bell_changes_nothing(bot: Bot, version: ModelVersion, engine: FakeEngine, state: str) -> None:
    engine.fault = AssertionError("the engine was asked again")
    generation = make_generation(bot, version=version, state=state, samples=[{"text": "the first answer"}])
    assert answer(generation, engine).samples == [{"text": "the first answer"}]
