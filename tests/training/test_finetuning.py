"""A fine-tuning run from its start to its version: slices, wishes, leases, kills and faults."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from accounts.models import AuditEntry
from bots.models import Bot
from tests.training.fake_engine import FakeEngine
from training import artifacts
from training.engine.errors import EngineError, NothingToTestOn
from training.engine.types import Conditions, TrainingPost
from training.models import Dataset, Metric, ModelVersion, Run, SampleSet
from training.services import finetuning, runs, versions
from training.services.worker import advance_run


@pytest.fixture
def run(bot: Bot, dataset: Dataset) -> Run:
    return runs.start_finetune(bot, dataset, {"seed": 3})


@pytest.fixture(autouse=True)
def _look_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "LOOK_EVERY", 0.0)


def again(run: Run) -> Run:
    run.refresh_from_db()
    return run


def test_a_run_goes_from_queued_over_running_to_finished(run: Run, engine: FakeEngine, rung: list[Any]) -> None:
    engine.slice_steps = 3
    advance_run(run.pk, engine)
    assert (again(run).state, run.lease_until, run.owner) == ("running", None, "")
    assert run.started_at is not None
    assert run.progress == {"step": 3, "total": 4, "best_heldout_loss": 3.7}
    assert not ModelVersion.objects.exists()
    advance_run(run.pk, engine)
    assert again(run).state == "finished"
    assert run.finished_at is not None
    assert run.progress == {"step": 4, "total": 4, "best_heldout_loss": 3.6, "reason": "All steps are done."}
    assert [asked["from"] for asked in engine.trained] == [0, 3]


def test_the_next_slice_is_rung_for(
    run: Run, engine: FakeEngine, rung: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    engine.slice_steps = 3
    bell = ("training.tasks.gpu_advance_run", str(run.organization_id), str(run.pk))
    with django_capture_on_commit_callbacks(execute=True):
        advance_run(run.pk, engine)
    assert rung == [bell]
    with django_capture_on_commit_callbacks(execute=True):
        advance_run(run.pk, engine)
    assert rung == [bell]


def test_the_newest_tenth_is_held_out(run: Run, engine: FakeEngine) -> None:
    advance_run(run.pk, engine)
    (asked,) = engine.trained
    assert asked["train"] == [f"Past post number {number}" for number in range(36)]
    assert asked["heldout"] == [f"Past post number {number}" for number in range(36, 40)]
    assert (asked["base"], asked["config"].seed) == ("starter", 3)


def test_rows_that_may_not_be_learned_from_stay_out(run: Run, dataset: Dataset, engine: FakeEngine) -> None:
    dataset.examples.filter(position=5).update(may_learn=False)
    advance_run(run.pk, engine)
    assert "Past post number 5" not in engine.trained[0]["train"]


def test_metrics_and_samples_are_kept(run: Run, engine: FakeEngine) -> None:
    advance_run(run.pk, engine)
    assert list(Metric.objects.filter(run=run, name="loss").values_list("step", "value")) == [
        (1, 4.9), (2, 4.8), (3, 4.7), (4, 4.6),
    ]  # fmt: skip
    assert list(SampleSet.objects.order_by("step").values_list("step", "texts")) == [
        (0, ["sample of step 0"]),
        (4, ["sample of step 4"]),
    ]


def test_the_result_is_a_version_that_the_bot_speaks_with(run: Run, engine: FakeEngine, bot: Bot) -> None:
    advance_run(run.pk, engine)
    version = ModelVersion.objects.get()
    assert (version.number, version.kind, version.run, version.parent, version.base) == (
        1,
        "offline",
        run,
        None,
        "starter",
    )
    assert version.is_current
    with default_storage.open(f"{version.folder}/model.safetensors", "rb") as weights:
        assert hashlib.sha256(weights.read()).hexdigest() == version.checksum
    assert version.size == len(f"fine-tuned {run.pk}") + len("{}") + len("critic")
    assert version.metrics == {"heldout_loss": 3.6, "step": 4, "reason": "All steps are done."}


def test_online_learning_follows_where_it_was_asked_for(bot: Bot, dataset: Dataset, engine: FakeEngine) -> None:
    run = runs.start_finetune(bot, dataset, then_online={"queue_ahead": 7})
    advance_run(run.pk, engine)
    online = Run.objects.get(kind="online")
    assert (online.state, online.start_version, online.config["queue_ahead"]) == (
        "queued",
        ModelVersion.objects.get(),
        7,
    )


def test_what_keeps_online_learning_from_starting_is_said_and_the_model_is_kept(
    bot: Bot, dataset: Dataset, engine: FakeEngine
) -> None:
    run = runs.start_finetune(bot, dataset, then_online={})
    bot.connection.may_learn = False
    bot.connection.save()
    advance_run(run.pk, engine)
    assert again(run).state == "finished"
    assert run.error.startswith("Fine-tuning is done, but online learning could not start: Nobody has recorded")
    assert ModelVersion.objects.get().is_current


def test_a_pause_takes_effect_at_the_end_of_the_slice_and_resuming_goes_on(run: Run, engine: FakeEngine) -> None:
    engine.before_step = lambda step: runs.pause_run(run.pk) if step == 2 else None
    advance_run(run.pk, engine)
    assert (again(run).state, run.progress["step"]) == ("paused", 2)
    advance_run(run.pk, engine)
    assert (again(run).state, len(engine.trained)) == ("paused", 1)
    runs.resume_run(run.pk)
    assert again(run).state == "queued"
    advance_run(run.pk, engine)
    assert (again(run).state, engine.trained[1]["from"]) == ("finished", 2)


def test_a_stop_keeps_the_best_model_so_far(bot: Bot, dataset: Dataset, engine: FakeEngine) -> None:
    run = runs.start_finetune(bot, dataset, then_online={})
    engine.before_step = lambda step: runs.stop_run(run.pk) if step == 2 else None
    advance_run(run.pk, engine)
    assert (again(run).state, run.progress["step"]) == ("stopped", 2)
    assert ModelVersion.objects.get().is_current
    assert not Run.objects.filter(kind="online").exists()


def test_stopping_a_paused_run_keeps_its_best_model_too(run: Run, engine: FakeEngine) -> None:
    engine.before_step = lambda step: runs.pause_run(run.pk) if step == 2 else None
    advance_run(run.pk, engine)
    runs.stop_run(run.pk)
    advance_run(run.pk, engine)
    assert again(run).state == "stopped"
    assert ModelVersion.objects.get().is_current


def test_a_stop_before_the_first_evaluation_keeps_nothing_and_says_so(run: Run, engine: FakeEngine) -> None:
    engine.evaluated_at = 3
    engine.before_step = lambda step: runs.stop_run(run.pk)
    advance_run(run.pk, engine)
    assert (again(run).state, run.error) == ("stopped", "")
    assert run.finished_at is not None
    assert run.progress["reason"] == "It was stopped before its first evaluation, so there was no model to keep."
    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize(("wish", "state"), [(runs.stop_run, "stopped"), (runs.pause_run, "paused")])
def test_a_wish_before_the_run_began_costs_no_training(run: Run, engine: FakeEngine, wish: Any, state: str) -> None:
    wish(run.pk)
    advance_run(run.pk, engine)
    assert again(run).state == state
    assert engine.trained == []


def test_two_workers_do_not_advance_one_run(run: Run, engine: FakeEngine) -> None:
    second = FakeEngine(engine.folder)
    engine.before_step = lambda step: advance_run(run.pk, second)
    advance_run(run.pk, engine)
    assert again(run).state == "finished"
    assert second.trained == []
    assert ModelVersion.objects.count() == 1


def _take_over(run: Run) -> None:
    """Another worker claims the run after this one's lease ran out."""
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert runs.claim_run(run.pk) is not None


@pytest.mark.parametrize("step", [2, 4])
def test_a_lost_lease_books_nothing(run: Run, engine: FakeEngine, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "LOOK_EVERY", 1000.0)  # found out only when the slice is booked
    engine.before_step = lambda at: _take_over(run) if at == step else None
    engine.slice_steps = step
    advance_run(run.pk, engine)
    assert (again(run).state, run.progress, run.fence) == ("running", {}, 2)
    assert run.lease_until is not None
    assert not ModelVersion.objects.exists()


def test_only_the_holder_of_the_lease_gives_it_back(run: Run) -> None:
    lost = runs.claim_run(run.pk)
    assert lost is not None
    _take_over(run)
    assert not runs.renew(lost)
    assert not runs.release(lost, state="finished")
    assert (again(run).state, run.fence) == ("queued", 2)
    assert run.lease_until is not None


def test_a_lost_lease_ends_the_slice(run: Run, engine: FakeEngine) -> None:
    engine.before_step = lambda at: _take_over(run) if at == 2 else None
    advance_run(run.pk, engine)
    assert Metric.objects.filter(name="loss").count() == 2
    assert not ModelVersion.objects.exists()


def test_a_fault_of_the_engine_fails_the_run_with_its_words(run: Run, engine: FakeEngine) -> None:
    engine.fault = EngineError("There is no model “gpt9”. Check the name.")
    advance_run(run.pk, engine)
    assert (again(run).state, run.error) == ("failed", "There is no model “gpt9”. Check the name.")
    assert (run.lease_until, run.owner) == (None, "")
    assert run.finished_at is not None
    assert AuditEntry.objects.filter(action="run.state", after={"state": "failed"}).count() == 1


def test_posts_that_left_nothing_to_test_on_are_marked_and_the_next_run_tests_on_others(
    run: Run, bot: Bot, dataset: Dataset, engine: FakeEngine
) -> None:
    broken = list(dataset.examples.order_by("position"))[-4:]
    engine.fault = NothingToTestOn({str(post.pk): "Its loss is not a number, alone too." for post in broken})
    advance_run(run.pk, engine)
    assert again(run).state == "failed"
    assert run.error.startswith("Every post that was held out to test on broke the training")
    engine.fault = None
    advance_run(runs.start_finetune(bot, dataset).pk, engine)
    assert len(engine.trained[-1]["posts"]) == 36
    assert not {post.text for post in broken} & set(engine.trained[-1]["heldout"])
    assert ModelVersion.objects.count() == 1


def test_a_fault_that_nobody_foresaw_leaves_the_run_to_the_next_try(run: Run, engine: FakeEngine) -> None:
    engine.fault = RuntimeError("the power went off")
    advance_run(run.pk, engine)
    assert (again(run).state, again(run).lease_until, again(run).progress) == ("running", None, {"stumbles": 1})
    engine.fault = None
    advance_run(run.pk, engine)
    assert again(run).state == "finished"
    assert "stumbles" not in again(run).progress


def test_a_kill_between_storing_the_version_and_ending_the_run_makes_no_second_one(
    run: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(versions, "make_current", killed)
        with pytest.raises(KeyboardInterrupt):
            advance_run(run.pk, engine)
    assert (again(run).state, ModelVersion.objects.count(), engine.exports) == ("running", 1, 1)
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    advance_run(run.pk, engine)
    assert (again(run).state, ModelVersion.objects.count(), engine.exports) == ("finished", 1, 1)
    assert ModelVersion.objects.get().is_current


def test_the_folder_of_work_in_progress_goes_with_the_run(run: Run, engine: FakeEngine, folders: Path) -> None:
    engine.slice_steps = 3
    advance_run(run.pk, engine)
    folder = artifacts.work_folder("finetune", run.pk)
    assert any(folder.iterdir())
    advance_run(run.pk, engine)
    assert not folder.exists()


def _write_by(dataset: Dataset, authors: int) -> None:
    """The dataset's posts are of that many authors, in turns."""
    for example in dataset.examples.all():
        example.author = f"author {example.position % authors}"
        example.save()


def test_some_authors_are_kept_out_where_enough_are_known(run: Run, dataset: Dataset, engine: FakeEngine) -> None:
    _write_by(dataset, 20)
    advance_run(run.pk, engine)
    (asked,) = engine.trained
    author_of = dict(dataset.examples.values_list("text", "author"))
    strangers = {author_of[text] for text in asked["heldout_authors"]}
    # 5 % of 40 posts are the two posts of one author.
    assert (len(asked["heldout_authors"]), len(strangers)) == (2, 1)
    assert not strangers & {author_of[text] for text in [*asked["train"], *asked["heldout"]]}
    assert (len(asked["train"]), len(asked["heldout"])) == (34, 4)
    assert asked["heldout"] == [text for text in list(author_of) if author_of[text] not in strangers][-4:]


def test_a_dataset_that_grows_keeps_its_strangers() -> None:
    def kept(posts: int) -> set[str]:
        some = [TrainingPost("", conditions=Conditions(author=f"author {at % 40}")) for at in range(posts)]
        return finetuning._kept_out(some, 0.1)

    assert len(kept(80)) == len(kept(160)) == 4
    assert kept(80) == kept(160)


def test_authors_who_write_more_than_the_share_give_way_to_the_smallest() -> None:
    posts = [TrainingPost("", conditions=Conditions(author=f"a{at % 10}")) for at in range(99)]

    assert finetuning._kept_out(posts, 0.05) == {"a9"}


@pytest.mark.parametrize("share", [0.05, 0.0])
def test_few_authors_are_all_learned_from(bot: Bot, dataset: Dataset, engine: FakeEngine, share: float) -> None:
    _write_by(dataset, 9 if share else 20)
    run = runs.start_finetune(bot, dataset, {"heldout_author_share": share})
    advance_run(run.pk, engine)
    assert engine.trained[0]["heldout_authors"] == []


def test_posts_that_broke_the_training_are_marked_and_left_out_of_the_next(
    run: Run, bot: Bot, dataset: Dataset, engine: FakeEngine
) -> None:
    broken = dataset.examples.get(position=7)
    engine.mishaps = {"quarantined": {str(broken.pk): "Its loss is not a number, alone too."}, "notes": ("A note.",)}
    engine.slice_steps = 3
    advance_run(run.pk, engine)
    assert (again(run).progress["quarantined"], run.progress["notes"]) == (1, ["A note."])
    advance_run(run.pk, engine)
    assert again(run).state == "finished"
    # Until the run ends it learns from what it began with: its checkpoints are of these posts.
    assert all(broken.text in asked["train"] for asked in engine.trained)
    broken.refresh_from_db()
    assert broken.quarantined == "Its loss is not a number, alone too."
    report = ModelVersion.objects.get().report
    assert report["quarantined"] == {str(broken.pk): "Its loss is not a number, alone too."}
    assert report["notes"] == ["A note."]
    following = runs.start_finetune(bot, dataset)
    advance_run(following.pk, engine)
    assert broken.text not in engine.trained[-1]["train"]
    assert len(engine.trained[-1]["posts"]) == 39


def test_what_was_learned_by_heart_is_kept_with_the_version(run: Run, engine: FakeEngine) -> None:
    memorisation = {
        "memorised_rate": 0.25, "longest_shared_run": 31.0, "longest_shared_words": 6.0, "sample": "a b", "step": 4,
        "nearest_text": "a b c",
    }  # fmt: skip
    engine.mishaps = {"memorisation": memorisation, "best_heldout_author_loss": 3.9}
    advance_run(run.pk, engine)
    version = ModelVersion.objects.get()
    assert version.report["memorisation"] == memorisation
    assert version.report.keys().isdisjoint({"quarantined", "notes"})
    assert version.metrics == {
        "heldout_loss": 3.6, "heldout_author_loss": 3.9, "step": 4, "reason": "All steps are done.",
        "memorised_rate": 0.25, "longest_shared_run": 31.0, "longest_shared_words": 6.0,
    }  # fmt: skip
