"""Texts on request: asked for, answered by a worker, refused, failed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError

from accounts.models import AuditEntry
from accounts.tenancy import tenant
from bots.models import Bot
from tests.factories import World, make_bot, make_generation, make_version
from tests.training.fake_engine import FakeEngine
from training import streaming
from training.engine.errors import EngineError
from training.engine.types import SamplingParams
from training.models import Dataset, Generation, ModelVersion
from training.services import deaths, generations, runs
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
        {
            "text": f"{text} {at}",
            "logprob": -0.5,
            "ended": True,
            "tokens": 3,
            "pieces": [[text[:-2], -0.25], [" 9", -0.25], [f" {at}", 0.0]],
        }
        for at in range(2)
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
        ({"params": {"temperature": 1e-300}}, "“temperature” must lie between 0.01 and 5.0."),
        ({"params": {"temperature": float("inf")}}, "“temperature” must lie between 0.01 and 5.0."),
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


def texts(samples: list[dict[str, Any]]) -> list[str]:
    return [sample["text"] for sample in samples]


def test_twenty_waiting_requests_are_one_batch(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    asked = [generations.request_generation(bot, params={"seed": seed}) for seed in range(20)]
    generations.answer_generation(asked[7].pk, engine)
    for generation in asked:
        generations.answer_generation(generation.pk, engine)  # their own bells come too

    [sampler] = engine.samplers
    assert (sampler.steps, [each.params for each in sampler.asked]) == (3, [SamplingParams(seed=n) for n in range(20)])
    for seed, generation in enumerate(asked):
        generation.refresh_from_db()
        assert (generation.state, texts(generation.samples)) == ("done", [f"fine-tuned {version.run_id} {seed} 0"])


def test_the_platforms_limit_is_counted_as_the_platform_counts(
    bot: Bot, version: ModelVersion, engine: FakeEngine
) -> None:
    answer(generations.request_generation(bot), engine)
    limit = engine.samplers[0].asked[0].limit

    assert limit is not None
    assert (limit.maximum, limit.count("four")) == (0, 4 - bot.connection.capabilities.max_length)


def test_what_comes_meanwhile_joins(
    bot: Bot, version: ModelVersion, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "LOOK_SECONDS", 0.0)
    late: list[Generation] = []
    engine.before_token = lambda step: late.append(generations.request_generation(bot)) if step == 2 else None
    first = answer(generations.request_generation(bot), engine)
    late[0].refresh_from_db()

    assert (len(engine.samplers), engine.samplers[0].steps, first.state, late[0].state) == (1, 5, "done", "done")


def test_after_a_while_a_batch_takes_no_more(
    bot: Bot, version: ModelVersion, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(generations, "OPEN_SECONDS", 0.0)
    late: list[Generation] = []
    engine.before_token = lambda step: late.append(generations.request_generation(bot)) if step == 2 else None
    first = answer(generations.request_generation(bot), engine)
    late[0].refresh_from_db()
    assert (engine.samplers[0].steps, first.state, late[0].state) == (3, "done", "queued")

    engine.before_token = lambda step: None
    assert answer(late[0], engine).state == "done"


def test_other_weights_wait_for_their_own_bell(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    other = generations.request_generation(bot, version=make_version(bot))
    answer(generations.request_generation(bot), engine)
    other.refresh_from_db()

    assert other.state == "queued"


def test_the_same_weights_answer_for_another_organization(
    world: World, bot: Bot, version: ModelVersion, engine: FakeEngine
) -> None:
    with tenant(world.globex.pk):
        stranger = make_bot()
        copy = make_version(stranger)
        ModelVersion.objects.filter(pk=copy.pk).update(checksum=version.checksum, folder=version.folder)
        copy.refresh_from_db()
        theirs = make_generation(stranger, version=copy, state="queued", prompt="Ours ")
    answer(generations.request_generation(bot), engine)
    with tenant(world.globex.pk):
        theirs.refresh_from_db()

    assert (theirs.state, texts(theirs.samples)) == ("done", [f"Ours fine-tuned {version.run_id} 0 0"])
    assert {each.owner for each in engine.samplers[0].asked} == {str(world.acme.pk), str(world.globex.pk)}


def test_a_request_that_cannot_be_answered_fails_alone(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    bad = generations.request_generation(bot, prompt="refuse me")
    outdated = make_generation(bot, version=version, state="queued", params={"heat": 2})
    good = answer(generations.request_generation(bot), engine)
    bad.refresh_from_db()
    outdated.refresh_from_db()

    assert (bad.state, bad.error, bad.samples) == ("failed", "This prompt leaves no room.", [])
    assert (outdated.state, outdated.error) == ("failed", "There is no setting “heat”.")
    assert good.state == "done"


def test_a_fault_in_the_middle_fails_what_was_being_written(
    bot: Bot, version: ModelVersion, engine: FakeEngine
) -> None:
    def break_down(step: int) -> None:
        if step == 2:
            raise EngineError("Out of memory.")

    engine.before_token = break_down
    asked = [generations.request_generation(bot) for _ in range(2)]
    assert [answer(each, engine).error for each in asked] == ["Out of memory."] * 2


def break_with(engine: FakeEngine, prompt: str, error: BaseException) -> None:
    """The engine breaks off at the second token of a request with this prompt."""

    def break_off(step: int) -> None:
        sampler = engine.samplers[-1]
        if any(prompt in asked.prompts and sampler.written.get(asked.key) == 1 for asked in sampler.asked):
            raise error

    engine.before_token = break_off


@pytest.mark.parametrize("error", [RuntimeError("index 64 is out of bounds"), EngineError("Out of memory.")])
def test_what_breaks_a_batch_fails_alone_and_the_others_are_answered(
    world: World, bot: Bot, version: ModelVersion, engine: FakeEngine, error: Exception
) -> None:
    break_with(engine, "poison", error)
    first, bad, last = (generations.request_generation(bot, prompt=words) for words in ("One", "poison", "Two"))
    for generation in (first, bad, last):
        streaming.watch(generation.pk)
    with tenant(world.globex.pk):
        stranger = make_bot()
        copy = make_version(stranger)
        ModelVersion.objects.filter(pk=copy.pk).update(checksum=version.checksum, folder=version.folder)
        theirs = make_generation(stranger, version=copy, state="queued", prompt="Ours")
    answered = answer(first, engine)
    for generation in (bad, last):
        generation.refresh_from_db()
    with tenant(world.globex.pk):
        theirs.refresh_from_db()

    assert (answered.state, last.state, theirs.state) == ("done", "done", "done")
    assert texts(last.samples)[0].startswith("Twofine-tuned")
    words = str(error) if isinstance(error, EngineError) else generations.BROKE_OFF
    assert (bad.state, bad.error, bad.samples) == ("failed", words, [])


def test_an_engine_that_cannot_begin_fails_every_request(
    bot: Bot, version: ModelVersion, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.fault = ZeroDivisionError("integer division or modulo by zero")
    asked = [generations.request_generation(bot) for _ in range(2)]
    answer(asked[0], engine)
    asked[1].refresh_from_db()

    assert [(each.state, each.error) for each in asked] == [("failed", generations.BROKE_OFF)] * 2
    assert "integer division or modulo by zero" in caplog.text
    assert "Traceback" in caplog.text


def test_critics_that_break_off_leave_the_texts(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    engine.judge_fault = RuntimeError("boom")
    answered = answer(generations.request_generation(bot, params={"scores": True, "seed": 1}), engine)

    assert (answered.state, texts(answered.samples)) == ("done", [f"fine-tuned {version.run_id} 1 0"])
    assert answered.samples[0]["scores"] == {"notes": [generations.NOT_JUDGED]}


def test_a_request_that_kills_the_worker_is_given_up_and_the_others_are_answered(
    bot: Bot, version: ModelVersion, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Stands for the system's end of the process: nothing is noted any more."""

    break_with(engine, "poison", Killed())
    bad, good = (generations.request_generation(bot, prompt=words) for words in ("poison", "Fine"))
    with monkeypatch.context() as gone:
        gone.setattr(deaths, "ended", lambda requests: None)
        for _ in range(3):
            with pytest.raises(Killed):
                generations.answer_generation(bad.pk, engine)
            good.refresh_from_db()
            bad.refresh_from_db()
            assert bad.state == "queued"
    assert [len(sampler.asked) for sampler in engine.samplers] == [2, 1, 1]  # alone from the second time on

    late = answer(generations.request_generation(bot, prompt="Late"), engine)
    good.refresh_from_db()
    bad.refresh_from_db()
    assert (late.state, good.state) == ("done", "done")
    assert (bad.state, bad.error) == ("failed", generations.DIED)


def test_a_worker_that_lives_is_not_counted_as_dead(
    bot: Bot, version: ModelVersion, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away: that is nobody's fault, and however often it happens, the request stays."""
    asked = generations.request_generation(bot)
    engine.before_token = lambda step: (_ for _ in ()).throw(OperationalError("the server closed the connection"))
    for _ in range(4):
        with pytest.raises(OperationalError):
            generations.answer_generation(asked.pk, engine)
    engine.before_token = lambda step: None

    assert answer(asked, engine).state == "done"


def test_watchers_see_the_texts_grow(
    bot: Bot, version: ModelVersion, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(generations, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr("bots.live.tell", lambda bot_id, message: told.append((bot_id, message)))
    generation = generations.request_generation(bot, params={"seed": 5})
    answer(generation, engine)
    text = f"fine-tuned {version.run_id}"

    news = {"type": "generation", "generation": str(generation.pk)}
    assert told == [
        (bot.pk, {**news, "state": "queued", "texts": [text]}),
        (bot.pk, {**news, "state": "queued", "texts": [f"{text} 5"]}),
        (bot.pk, {**news, "state": "done"}),
    ]


def test_watchers_are_not_told_more_often_than_they_can_read(
    bot: Bot, version: ModelVersion, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    clock = iter(range(100))
    monkeypatch.setattr(generations, "time", SimpleNamespace(monotonic=lambda: next(clock) * 0.11))
    monkeypatch.setattr("bots.live.tell", lambda bot_id, message: told.append(message))
    answer(generations.request_generation(bot), engine)

    assert [message["state"] for message in told] == ["queued", "done"]
