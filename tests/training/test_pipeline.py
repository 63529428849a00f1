"""Download, retrain, tag, deploy, post: the whole pipeline, and nobody in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from accounts import clock
from bots.models import Bot, Post
from bots.services import delivery, scheduling
from faces.contract import RemotePost
from faces.registry import FACES
from tests.factories import make_bot, make_connection, make_schedule
from tests.fake_platform import FakePlatform, StubKind, fake_face
from tests.training.engine.conftest import _one_thread, tiny_model_folder
from tests.training.fake_engine import FakeEngine
from training.models import Dataset, Example, Harvest, ModelVersion, Run
from training.services import gates, harvests, retraining, runs, worker
from training.services.engine import Engine

__all__ = ["_one_thread", "tiny_model_folder"]  # fixtures
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def now() -> Iterator[clock.SimulatedClock]:
    with clock.simulated(START) as moved:
        yield moved


def newest() -> ModelVersion:
    return ModelVersion.objects.order_by("-number")[0]


def work(engine: Engine) -> None:
    """The training worker answers every bell there is."""
    for run in Run.objects.filter(state__in=[Run.State.QUEUED, Run.State.RUNNING]):
        worker.advance_run(run.pk, engine)


def retrain(engine: Engine) -> ModelVersion:
    """A sweep and a worker; the version that came of it."""
    retraining.sweep_retrainings()
    work(engine)
    return newest()


@pytest.mark.django_db(transaction=True)
def test_the_whole_pipeline_needs_no_person(
    acme: Any, engine: FakeEngine, now: clock.SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Download, retrain, tag, deploy, post: what appears on the platform is read and learned from, the version is
    tagged, passes the gate, and writes what is published next.
    """
    platform = FakePlatform()
    monkeypatch.setitem(FACES, "fake", StubKind(fake_face(platform, reads=frozenset({"history", "accounts"}))))
    bot = make_bot(make_connection("fake", may_learn=True), approval="auto")
    harvests.create_harvest(bot, bot.connection, "@somebody", every_minutes=60)
    make_schedule(bot, interval_seconds=600, created_at=START)
    retraining.set_retraining(bot, active=True, every_hours=1, least_new_examples=10, tag="nightly-%d")
    engine.mishaps = {"memorisation": {"memorised_rate": 0.0}}

    def told(first: int, count: int) -> None:
        for number in range(first, first + count):
            text = f"Story {number} of {number * 7} lanterns"
            platform.posts.append(RemotePost(f"id-{number}", text, now.current, metrics={"likes": number}))

    def pass_time() -> None:
        for _ in range(7):
            now.advance(timedelta(minutes=10))
            scheduling.fill_slots(bot)
            scheduling.queue_due()
            for post in Post.objects.filter(state="queued"):
                delivery.deliver_post(post.pk)
        for harvest in Harvest.objects.filter(next_at__lte=now.current):
            harvests.read_harvest(harvest.pk)
        retrain(engine)

    def last_writer() -> Any:
        sent = platform.published[-1][0].text
        return Post.objects.get(text=sent).model_version_id

    told(0, 60)
    pass_time()
    first = newest()
    assert (first.is_current, first.tags) == (True, ["nightly-01"])
    runs.start_online(bot, first, {"queue_ahead": 4, "min_new_scores": 4})  # a person's only part
    engine.moves = False
    propose = engine._proposal  # of each run other posts: the first round of the next one must not repeat them
    engine._proposal = lambda number, at, speaker: propose(number + 3 * Run.objects.count(), at, speaker)  # type: ignore[method-assign]
    work(engine)

    told(60, 30)
    pass_time()  # online learning ends
    assert (len(platform.published), last_writer()) == (4, first.pk)
    pass_time()  # trained, and put to use
    second = newest()
    assert (second.number, second.is_current) == (2, True)
    assert second.run is not None
    assert any("Story 80 of" in text for text in engine.trained[-1]["train"])
    work(engine)
    told(90, 30)
    pass_time()
    assert (len(platform.published), last_writer()) == (8, second.pk)

    engine.losses = {str(second.run_id): 1.0, "fine-tuned": 3.0}
    pass_time()
    third = newest()
    assert (third.number, third.is_current) == (3, False)
    assert ModelVersion.objects.get(is_current=True) == second


TRAINING = {"max_epochs": 6, "learning_rate": 3e-3, "warmup_steps": 2, "context": 32, "evaluate_every": 20}


def test_the_gate_of_the_real_engine_lets_a_better_version_through_and_a_worse_one_not(
    bot: Bot, dataset: Dataset, now: clock.SimulatedClock, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import gpu

    engine = gpu.GpuEngine()
    bot.base_model = str(tiny_model_folder)
    bot.save()

    def again(**config: Any) -> ModelVersion:
        now.advance(timedelta(days=1))
        have = dataset.examples.count()
        Example.objects.bulk_create(
            Example(dataset=dataset, position=have + n, text=f"Past post number {have + n}", may_learn=True,
                    posted_at=START + timedelta(minutes=have + n)) for n in range(20)
        )  # fmt: skip
        retraining.set_retraining(bot, active=True, least_new_examples=10, config=TRAINING | config)
        version = retrain(engine)
        # Posts of one pattern are soon known by heart, which is another gate's business.
        assert "gate" in version.report
        return version

    monkeypatch.setattr(gates, "MOST_MEMORISED", 1.0)
    first = again(max_epochs=1)
    better = again()
    gate = better.report["gate"]
    assert (first.number, better.number, better.is_current) == (1, 2, True)
    assert gate["loss"] < gate["current_loss"]
    worse = again(learning_rate=1e-9, max_epochs=1)
    gate = worse.report["gate"]
    assert (worse.number, worse.is_current, gate["passed"]) == (3, False, False)
    assert gate["loss"] > 1.02 * gate["current_loss"]
    assert ModelVersion.objects.get(is_current=True) == better


def test_losses_are_the_models_own_and_a_text_that_is_too_long_has_none(folders: Path, tiny_model_folder: Path) -> None:
    from training import gpu
    from training.engine.models.registry import load_model

    engine, reader = gpu.GpuEngine(), load_model(str(tiny_model_folder))
    texts = ["A heron", "word " * 5000]
    loss, none = engine.text_losses(tiny_model_folder, texts)
    assert loss == pytest.approx(-sum(reader.logprobs(["A heron"])[0]))
    assert none is None
    asked: list[int] = []

    def learned() -> list[str]:
        asked.append(1)
        return ["A heron asked the canal for directions"]

    assert engine.nearest("one", learned, ["A heron asked me"]) == [("A heron asked the canal for directions", 14)]
    engine.nearest("one", learned, ["Something else"])
    assert asked == [1]
