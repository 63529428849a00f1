"""Training again by itself: when it starts, what it makes way for, what its gate lets through, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts import clock
from accounts.models import AuditEntry
from bots.models import Bot
from faces.registry import FACES
from tests.factories import make_bot, make_connection, make_dataset, make_run
from tests.fake_platform import FakePlatform, StubKind, fake_face
from tests.telling import mailed
from tests.training.fake_engine import FakeEngine
from training.engine.errors import EngineError
from training.models import Dataset, Example, ModelVersion, Retraining, Run
from training.services import finetuning, harvests, retraining, runs, worker

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEASURED = {"memorisation": {"memorised_rate": 0.0, "longest_shared_run": 9.0}}


@pytest.fixture
def now() -> Iterator[clock.SimulatedClock]:
    with clock.simulated(START) as moved:
        yield moved


@pytest.fixture
def engine(engine: FakeEngine) -> FakeEngine:
    engine.mishaps = dict(MEASURED)
    return engine


def begin(bot: Bot, **fields: Any) -> Retraining:
    return retraining.set_retraining(bot, **{"active": True, "least_new_examples": 10} | fields)


def sweep(row: Retraining) -> Retraining:
    retraining.sweep_retrainings()
    row.refresh_from_db()
    return row


def work(engine: FakeEngine) -> None:
    """The training worker answers every bell there is."""
    for run in Run.objects.filter(state__in=[Run.State.QUEUED, Run.State.RUNNING]):
        worker.advance_run(run.pk, engine)


def grow(dataset: Dataset, count: int = 20) -> None:
    have = dataset.examples.count()
    Example.objects.bulk_create(
        Example(
            dataset=dataset, position=have + n, text=f"A newer post number {have + n}", may_learn=True,
            posted_at=datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=have + n),
        )
        for n in range(count)
    )  # fmt: skip
    Dataset.objects.filter(pk=dataset.pk).update(example_count=have + count)


def newest(bot: Bot) -> ModelVersion:
    return ModelVersion.objects.filter(bot=bot).order_by("-number")[0]


def test_a_first_version_is_trained_tagged_and_put_to_use(
    bot: Bot, dataset: Dataset, engine: FakeEngine, now: clock.SimulatedClock
) -> None:
    row = sweep(begin(bot, config={"max_epochs": 2.0}))
    run = row.last_run
    assert run is not None
    assert (run.kind, run.config["max_epochs"], row.learned_examples) == ("offline", 2.0, 40)
    assert (row.next_at, row.result) == (now.current + timedelta(hours=24), "")
    assert Run.objects.count() == 1
    work(engine)
    version = newest(bot)
    assert (version.is_current, version.tags) == (True, ["auto-2026-03-01"])
    row = sweep(row)
    assert row.result == "v1 (auto-2026-03-01) speaks for the bot now. It is the bot's first version."
    assert [entry.action for entry in AuditEntry.objects.filter(object_type="retraining").order_by("pk")] == [
        "retraining.set", "retraining.start", "retraining.conclude",
    ]  # fmt: skip


def test_it_waits_until_enough_posts_are_new(
    bot: Bot, dataset: Dataset, start: ModelVersion, now: clock.SimulatedClock
) -> None:
    row = sweep(begin(bot))
    assert (row.last_run, row.learned_examples) == (None, 40)
    assert row.next_at == now.current + retraining.LOOK_AGAIN
    make_dataset(bot, examples=30, may_learn=False)
    make_dataset(bot, "uploaded", examples=30)
    grow(dataset, 9)
    now.advance(retraining.LOOK_AGAIN)
    assert sweep(row).last_run is None
    grow(dataset, 1)
    assert sweep(row).last_run is None  # not due yet
    now.advance(retraining.LOOK_AGAIN)
    assert sweep(row).last_run is not None


def test_what_is_switched_off_does_nothing(bot: Bot, dataset: Dataset, now: clock.SimulatedClock) -> None:
    begin(bot)
    row = sweep(retraining.set_retraining(bot, active=False))
    assert (row.last_run, Run.objects.count()) == (None, 0)


def test_two_sweeps_start_one_training(bot: Bot, dataset: Dataset, now: clock.SimulatedClock) -> None:
    row = begin(bot)
    sweep(sweep(row))
    assert Run.objects.count() == 1


@pytest.fixture
def trained(bot: Bot, dataset: Dataset, start: ModelVersion, now: clock.SimulatedClock) -> Retraining:
    """A bot with a version whose datasets have grown, and a retraining that has just begun."""
    row = begin(bot)
    grow(dataset)
    return sweep(row)


@pytest.mark.parametrize(("loss", "passes"), [(0.9, True), (1.02, True), (1.021, False), (2.0, False)])
def test_a_version_that_is_worse_by_more_than_was_allowed_stays_out(
    bot: Bot, trained: Retraining, start: ModelVersion, engine: FakeEngine, loss: float, passes: bool,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    engine.losses = {str(start.run_id): 1.0, str(trained.last_run_id): loss}
    with django_capture_on_commit_callbacks(execute=True):
        work(engine)
    version = newest(bot)
    assert (version.number, version.is_current, version.tags) == (2, passes, ["auto-2026-03-01"])
    assert (version.report["gate"]["passed"], version.report["gate"]["loss"]) == (passes, pytest.approx(loss))
    trained.refresh_from_db()
    words = f"Held-out loss {loss:.3f} against 1.000 of v1, in nats per character over 3 posts"
    assert words in trained.result
    assert trained.result.startswith(f"v2 (auto-2026-03-01) {'speaks for the bot now' if passes else 'stays out'}")
    assert mailed() == ([] if passes else ["Kilroy: A new version of Writer was not put to use"])


def test_the_gate_measures_on_posts_that_neither_trained_nor_stopped_the_training(
    bot: Bot, trained: Retraining, engine: FakeEngine
) -> None:
    asked: list[list[str]] = []
    losses = engine.text_losses
    engine.text_losses = lambda model, texts: asked.append(list(texts)) or losses(model, texts)  # type: ignore[method-assign,func-returns-value]
    work(engine)
    assert len(asked) == 2
    assert asked[0] == asked[1]
    used = engine.trained[-1]
    assert not set(asked[0]) & {*used["train"], *used["heldout"]}
    assert len(used["heldout"]) == len(asked[0]) == 3
    newest_text = Example.objects.order_by("-posted_at").values_list("text", flat=True)[0]
    assert newest_text in asked[0]


def test_a_version_that_knows_its_posts_by_heart_stays_out(bot: Bot, trained: Retraining, engine: FakeEngine) -> None:
    engine.mishaps = {"memorisation": {"memorised_rate": 0.5}}
    work(engine)
    trained.refresh_from_db()
    assert "50% of its samples are near-copies of training posts; at most 25% may be." in trained.result
    assert not newest(bot).is_current


def test_what_was_not_measured_does_not_pass(bot: Bot, trained: Retraining, engine: FakeEngine) -> None:
    engine.mishaps = {}
    work(engine)
    assert newest(bot).report["gate"]["reason"].startswith("What it has by heart was not measured")
    assert not newest(bot).is_current


def test_a_current_version_that_cannot_be_read_keeps_the_new_one_out(
    bot: Bot, trained: Retraining, engine: FakeEngine, start: ModelVersion
) -> None:
    ModelVersion.objects.filter(pk=start.pk).update(checksum="0" * 64)
    work(engine)
    trained.refresh_from_db()
    assert "could not be compared with v1" in trained.result
    assert Run.objects.get(pk=trained.last_run_id).state == "finished"
    assert not newest(bot).is_current


def test_a_version_may_wait_for_a_person(bot: Bot, trained: Retraining, engine: FakeEngine) -> None:
    retraining.set_retraining(bot, make_current=False)
    work(engine)
    trained.refresh_from_db()
    assert "passed the gate and waits for a person" in trained.result
    assert not newest(bot).is_current


def test_a_kill_between_the_version_and_the_end_of_its_run_changes_nothing(
    bot: Bot, trained: Retraining, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = finetuning._end

    def killed(*arguments: Any, **more: Any) -> bool:
        raise SystemExit

    monkeypatch.setattr(finetuning, "_end", killed)
    with pytest.raises(SystemExit):
        work(engine)
    assert newest(bot).number == 2
    assert sweep(trained).result == ""
    monkeypatch.setattr(finetuning, "_end", end)
    Run.objects.update(lease_until=None)
    work(engine)
    version = newest(bot)
    assert (version.number, version.is_current, version.tags) == (2, True, ["auto-2026-03-01"])


def test_online_learning_makes_way_and_begins_anew_from_the_new_version(
    bot: Bot, dataset: Dataset, run: Run, engine: FakeEngine, now: clock.SimulatedClock
) -> None:
    work(engine)
    row = begin(bot)
    assert sweep(row).last_run is None  # nothing is new, so it goes on learning
    assert Run.objects.get(pk=run.pk).wish == "run"
    grow(dataset)
    now.advance(retraining.LOOK_AGAIN)
    sweep(row)
    assert (row.last_run_id, Run.objects.get(pk=run.pk).wish) == (run.pk, "stop")
    assert sweep(row).last_run_id == run.pk  # it has not ended yet
    work(engine)
    assert Run.objects.get(pk=run.pk).state == "stopped"
    sweep(row)
    assert row.last_run is not None
    assert (row.last_run.kind, row.last_run.then_online["queue_ahead"]) == ("offline", run.config["queue_ahead"])
    work(engine)
    following = Run.objects.get(state="queued")
    assert (following.kind, following.start_version) == ("online", newest(bot))
    assert following.config == run.config


def test_after_a_version_that_stays_out_online_learning_goes_on_from_the_one_that_speaks(
    bot: Bot, dataset: Dataset, run: Run, engine: FakeEngine, now: clock.SimulatedClock
) -> None:
    row = begin(bot)
    grow(dataset)
    sweep(row)
    work(engine)
    sweep(row)
    engine.losses = {str(row.last_run_id): 5.0}
    work(engine)
    speaker = ModelVersion.objects.get(bot=bot, is_current=True)
    assert speaker.number == 1
    assert Run.objects.get(state="queued").start_version == speaker


def test_a_training_that_fails_is_told_of_and_online_learning_taken_up_again(
    bot: Bot, dataset: Dataset, run: Run, engine: FakeEngine, now: clock.SimulatedClock,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    row = begin(bot)
    grow(dataset)
    sweep(row)
    work(engine)
    sweep(row)
    engine.fault = EngineError("The loss stopped being a number.")
    work(engine)
    with django_capture_on_commit_callbacks(execute=True):
        sweep(sweep(row))
    assert row.result == "The training failed: The loss stopped being a number."
    assert mailed() == ["Kilroy: Training Writer again came to nothing"]
    assert Run.objects.get(state="queued").kind == "online"
    assert (row.learned_examples, row.next_at) == (0, now.current + timedelta(hours=24))


@pytest.mark.parametrize("fields", [{"kind": "online", "state": "paused"}, {"kind": "offline", "state": "queued"}])
def test_what_a_person_paused_or_trains_is_waited_for(
    bot: Bot, dataset: Dataset, now: clock.SimulatedClock, fields: dict[str, str]
) -> None:
    living = make_run(bot, **fields)
    row = begin(bot)
    grow(dataset)
    Retraining.objects.update(learned_examples=0)
    assert sweep(row).result.startswith("Due, and waits until the ")
    living.refresh_from_db()
    assert (living.state, living.wish, Run.objects.count()) == (fields["state"], "run", 1)


def test_a_training_that_a_person_stops_leaves_the_voice_as_it_is(
    bot: Bot, trained: Retraining, engine: FakeEngine
) -> None:
    assert trained.last_run is not None
    engine.before_step = lambda step: runs.stop_run(trained.last_run.pk) if step == 2 else None  # type: ignore[union-attr]
    engine.slice_steps = 2
    work(engine)
    work(engine)
    trained.refresh_from_db()
    assert "was stopped by a person" in trained.result
    assert not newest(bot).is_current


def test_a_persons_training_passes_no_gate(bot: Bot, start: ModelVersion) -> None:
    assert (start.is_current, start.tags, "gate" in start.report) == (True, [], False)


def test_two_versions_of_a_day_have_different_tags(
    bot: Bot, trained: Retraining, dataset: Dataset, engine: FakeEngine, now: clock.SimulatedClock
) -> None:
    work(engine)
    grow(dataset)
    Retraining.objects.update(next_at=now.current)
    sweep(trained)
    work(engine)
    assert newest(bot).tags == ["auto-2026-03-01.2"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"every_hours": 0}, "greater than or equal to 1"),
        ({"every_hours": 9000}, "between 1 and 8760 hours"),
        ({"most_loss_increase": float("nan")}, "between 0 and 1"),
        ({"tag": "no spaces"}, "letters, digits, dots, dashes and underscores"),
        ({"tag": "%c"}, "letters, digits, dots, dashes and underscores"),
        ({"config": {"max_epoch": 1}}, "Did you mean “max_epochs”?"),
        ({"config": {"samples_per_evaluation": 0}}, "must be at least 1"),
        ({"nonsense": 1}, "There is no setting “nonsense”"),
    ],
)
def test_wrong_settings_are_refused_with_words(bot: Bot, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("?", r"\?")):
        begin(bot, **fields)
    assert not Retraining.objects.exists()


def test_datasets_of_a_connection_whose_permission_is_gone_are_not_learned_from(
    acme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(FakePlatform(), reads=frozenset({"history"}))))
    bot = make_bot(make_connection("fake", may_learn=True))
    harvest = harvests.create_harvest(bot, bot.connection)
    assert list(retraining.sources_of(bot)) == [harvest.dataset]
    bot.connection.may_learn = False
    bot.connection.save()
    assert list(retraining.sources_of(bot)) == []
