"""Posts written ahead into the queue: in small requests, once, with provenance, and without holding the worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from bots.models import Bot, Post
from tests.factories import make_generation, make_post, make_reward, make_run, make_schedule, make_version
from tests.telling import mailed
from tests.training.conftest import ONLINE
from tests.training.fake_engine import WORDS, FakeEngine, FakeSampler
from training.engine.rounds import score_metrics
from training.models import Dataset, Example, Generation, ModelVersion
from training.services import ahead, generations, runs, worker
from training.services.worker import advance_run


@pytest.fixture(autouse=True)
def one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, a batch takes on what waits when it begins, and nothing later."""
    monkeypatch.setattr(generations, "LOOK_SECONDS", float("inf"))


@pytest.fixture(autouse=True)
def varied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that the rule against repetition tells apart."""

    def pieces(self: FakeSampler, asked: Any) -> list[tuple[str, ...]]:
        seed = asked.params.seed % 1000
        return [(f"{WORDS[at % 20]} ", f"{WORDS[seed % 20]} ", f"{seed} {at}") for at in range(len(asked.prompts))]

    monkeypatch.setattr(FakeSampler, "_pieces", pieces)


@pytest.fixture
def version(start: ModelVersion) -> ModelVersion:
    return start


def answer(engine: FakeEngine) -> None:
    for request in Generation.objects.filter(state="queued").order_by("created_at")[:1]:
        generations.answer_generation(request.pk, engine)


def test_hundreds_are_asked_for_in_small_requests_with_one_bell(
    bot: Bot, version: ModelVersion, rung: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        asked = generations.write_ahead(bot, 100, {"seed": 7, "temperature": 0.5})
    assert [(each.count, each.params["seed"], each.into_queue) for each in asked] == [
        (32, 7, True), (32, 8, True), (32, 9, True), (4, 10, True),
    ]  # fmt: skip
    assert generations.pending_ahead(bot) == 100
    assert rung == [("training.tasks.gpu_answer_generation", str(bot.organization_id), str(asked[0].pk))]


def test_they_become_posts_with_their_provenance(
    bot: Bot, version: ModelVersion, dataset: Dataset, engine: FakeEngine
) -> None:
    text = f"{WORDS[1]} {WORDS[7]} 7 1"
    Example.objects.filter(dataset=dataset, position=3).update(text=text)
    (request,) = generations.write_ahead(bot, 2, {"seed": 7})
    answer(engine)
    request.refresh_from_db()
    assert (request.state, generations.pending_ahead(bot)) == ("done", 0)
    posts = {post.text: post for post in Post.objects.all()}
    plain, copied = posts[f"{WORDS[0]} {WORDS[7]} 7 0"], posts[text]
    assert (plain.arm, plain.model_version_id, plain.state) == ("learning", version.pk, "approved")
    assert plain.provenance["generation"] == str(request.pk)
    assert (plain.provenance["version"], plain.provenance["shared_run"]) == (1, 7)
    assert (copied.state, copied.provenance["shared_run"]) == ("pending_review", 60)  # the rule on memorisation
    assert engine.learned == [f"{version.pk} 40"]


def test_a_kill_before_the_commit_costs_one_request_and_makes_nothing_twice(
    bot: Bot, version: ModelVersion, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations.write_ahead(bot, 4, {"seed": 7})
    propose = ahead.propose

    def killed(*arguments: Any) -> None:
        propose(*arguments)
        raise SystemExit

    monkeypatch.setattr(ahead, "propose", killed)
    with pytest.raises(SystemExit):
        answer(engine)
    assert (Post.objects.count(), generations.pending_ahead(bot)) == (0, 4)
    monkeypatch.setattr(ahead, "propose", propose)
    answer(engine)
    answer(engine)
    assert Post.objects.count() == 4


def test_what_a_rule_blocks_is_drawn_anew_until_there_are_enough(
    bot: Bot, version: ModelVersion, engine: FakeEngine
) -> None:
    bot.blocklist = ["gloves"]
    bot.save()
    generations.write_ahead(bot, 4, {"seed": 7})
    answer(engine)
    assert (Post.objects.filter(state="blocked").count(), generations.pending_ahead(bot)) == (1, 1)
    answer(engine)
    assert (Post.objects.exclude(state="blocked").count(), generations.pending_ahead(bot)) == (4, 0)


def test_a_model_that_has_nothing_of_use_is_not_asked_for_ever(
    bot: Bot, version: ModelVersion, engine: FakeEngine
) -> None:
    bot.blocklist = [word for words in WORDS for word in words.split()]
    bot.save()
    (request,) = generations.write_ahead(bot, 3)
    answer(engine)
    request.refresh_from_db()
    assert (request.state, request.error) == ("done", ahead.LEFT_OUT)
    assert generations.pending_ahead(bot) == 0


def test_they_teach_a_round_but_count_in_neither_arm(bot: Bot, version: ModelVersion, engine: FakeEngine) -> None:
    """They were drawn as a person asked, with no baseline post beside them."""
    run = make_run(bot, "online", start_version=version, state="finished")
    for arm in ("learning", "baseline"):
        make_reward(make_post(bot, "published", arm=arm, provenance={"run": str(run.pk)}))
    (request,) = generations.write_ahead(bot, 1, {"seed": 7})
    answer(engine)
    written = Post.objects.get(provenance__generation=str(request.pk))
    make_reward(make_post(bot, "published", arm=written.arm, provenance=written.provenance))
    advance_run(runs.start_online(bot, version, ONLINE).pk, engine)
    told = engine.rounds[0]
    assert told.lineage == str(version.pk)
    assert [(post.arm, post.lineage == told.lineage) for post in told.scored] == [
        ("learning", True), ("baseline", True), ("learning", False),
    ]  # fmt: skip
    figures = score_metrics(told.scored, np.zeros(3), told.lineage)
    assert (figures["learning_posts"], figures["baseline_posts"]) == (1, 1)


def test_what_was_cut_off_is_no_post(
    bot: Bot, version: ModelVersion, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    sample = FakeSampler._sample
    cut = staticmethod(lambda pieces, prompt: replace(sample(pieces, prompt), ended=pieces[2] != "7 1"))
    monkeypatch.setattr(FakeSampler, "_sample", cut)
    generations.write_ahead(bot, 3, {"seed": 7})
    answer(engine)
    assert sorted(post.text[-1] for post in Post.objects.all()) == ["0", "2"]


def test_of_a_lineage_that_nobody_remembers_every_post_is_looked_at(
    bot: Bot, version: ModelVersion, engine: FakeEngine
) -> None:
    ModelVersion.objects.update(run=None)
    generations.write_ahead(bot, 2)
    answer(engine)
    assert {post.state for post in Post.objects.all()} == {"pending_review"}


def test_one_batch_takes_one_request_of_the_queue_at_a_time_and_people_first(
    bot: Bot, version: ModelVersion, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations.write_ahead(bot, 96, {"seed": 7})
    asked = generations.request_generation(bot, prompt="Mine")
    monkeypatch.setattr(generations, "OPEN_SECONDS", 0.0)
    answer(engine)
    asked.refresh_from_db()
    assert asked.state == "done"
    assert [request.prompts[0] for request in engine.samplers[0].asked] == ["Mine", ""]
    assert generations.pending_ahead(bot) == 64


def test_the_sweep_rings_for_one_request_of_a_bots_queue(
    bot: Bot, version: ModelVersion, rung: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    asked = generations.write_ahead(bot, 96)
    Generation.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    Generation.objects.filter(pk=asked[1].pk).update(created_at=timezone.now() - timedelta(minutes=2))
    with django_capture_on_commit_callbacks(execute=True):
        worker.sweep_runs()
    assert [bell[2] for bell in rung if "generation" in bell[0]] == [str(asked[1].pk)]


@pytest.mark.parametrize("count", [0, 1001])
def test_a_wrong_number_is_refused(bot: Bot, version: ModelVersion, count: int) -> None:
    with pytest.raises(ValidationError, match="Between 1 and 1000 posts"):
        generations.write_ahead(bot, count)
    assert not Generation.objects.exists()


def test_more_than_can_be_kept_is_refused_while_others_are_being_written(bot: Bot, version: ModelVersion) -> None:
    generations.write_ahead(bot, 900)
    with pytest.raises(ValidationError, match="900 posts are still being written"):
        generations.write_ahead(bot, 101)


@pytest.mark.parametrize(
    ("filled_by", "told"),
    [("", 1), ("online", 0), ("paused online", 1), ("training", 0), ("writing", 0)],
)
def test_an_empty_queue_is_told_of_unless_something_is_about_to_fill_it(
    bot: Bot, filled_by: str, told: int, django_capture_on_commit_callbacks: Any
) -> None:
    make_schedule(bot)
    make_post(bot, "published")
    version = make_version(bot)
    if "online" in filled_by:
        make_run(bot, "online", start_version=version, state="paused" if "paused" in filled_by else "running")
    elif filled_by == "training":
        make_run(bot, then_online={"queue_ahead": 4})
    elif filled_by == "writing":
        make_generation(bot, into_queue=True)
    with django_capture_on_commit_callbacks(execute=True):
        assert ahead.sweep_queues() == told
    assert len(mailed()) == told
