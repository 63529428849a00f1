"""Rounds of online learning: when one is due, what it is told, and everything that it leaves behind."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import AuditEntry
from bots.models import Bot, Post
from bots.states import PostState
from tests.factories import make_post, make_reward, make_round, make_run, make_version
from tests.training.conftest import ONLINE
from tests.training.fake_engine import FakeEngine
from training import history
from training.engine.errors import EngineError
from training.engine.types import SamplingParams
from training.models import Dataset, Metric, ModelVersion, Round, Run
from training.services import rounds, runs, versions
from training.services.worker import advance_run


def again(run: Run) -> Run:
    run.refresh_from_db()
    return run


def publish(posts: list[Post], reward: float | None = 0.5) -> None:
    """As if these posts were out there, and their reward had come in."""
    for post in posts:
        post.state, post.remote_id, post.published_at = PostState.PUBLISHED, str(post.pk), timezone.now()
        post.next_reading_at = None if reward is not None else timezone.now()
        Post.objects.filter(pk=post.pk).update(state=PostState.SCHEDULED, slot_utc=timezone.now())
        for state in (PostState.QUEUED, PostState.LEASED, PostState.SENDING):
            Post.objects.filter(pk=post.pk).update(state=state)
        Post.objects.filter(pk=post.pk).update(
            state=PostState.PUBLISHED,
            remote_id=post.remote_id,
            published_at=post.published_at,
            next_reading_at=post.next_reading_at,
        )
        if reward is not None:
            make_reward(post, value=reward)


def upcoming(bot: Bot) -> list[Post]:
    return list(Post.objects.filter(bot=bot, state=PostState.APPROVED).order_by("created_at"))


def test_a_round_leaves_its_record_metrics_version_and_posts(run: Run, engine: FakeEngine, bot: Bot) -> None:
    advance_run(run.pk, engine)
    assert (again(run).state, run.lease_until) == ("running", None)
    played = Round.objects.get()
    assert (played.run, played.number, played.scored_posts) == (run, 0, 0)
    assert played.decisions == ["Decided in round 0."]
    assert played.metrics == {"reward_mean": 0.5, "kl": 0.25}
    assert played.engine_state == {"rounds": 1}
    assert played.config["queue_ahead"] == 8
    measured = dict(Metric.objects.filter(run=run, step=0).values_list("name", "value"))
    assert measured == {"reward_mean": 0.5, "kl": 0.25, "round_seconds": played.seconds}
    assert (played.version.kind, played.version.number, played.version.is_current) == ("online", 2, True)
    assert played.version.parent == run.start_version
    assert Post.objects.filter(bot=bot).count() == 8
    assert AuditEntry.objects.filter(action="round.play", object_id=str(run.pk)).count() == 1


def test_proposals_become_posts_that_know_where_they_come_from(run: Run, engine: FakeEngine) -> None:
    advance_run(run.pk, engine)
    posts = list(Post.objects.order_by("-arm"))
    assert [post.arm for post in posts] == ["learning"] * 6 + ["baseline"] * 2
    first, last = posts[0], posts[-1]
    made = Round.objects.get().version
    assert (first.model_version_id, last.model_version_id) == (made.pk, run.start_version_id)
    assert first.provenance == {
        "run": str(run.pk),
        "round": 0,
        "version": 2,
        "sampling": asdict(SamplingParams()),
        "logprob": -12.5,
        "predicted": 0.75,
        "predicted_sd": 0.5,
        "beaten": [["A weaker idea", 0.25]],
        "nearest_text": "Past post number 1",
        "shared_run": 7,
    }
    assert (last.provenance["version"], last.provenance["predicted"]) == (1, None)


def test_where_a_person_approves_posts_wait_for_review(run: Run, engine: FakeEngine, bot: Bot) -> None:
    bot.approval = Bot.Approval.REVIEW
    bot.save()
    advance_run(run.pk, engine)
    assert set(Post.objects.values_list("state", flat=True)) == {"pending_review"}


def test_a_round_whose_policy_does_not_move_makes_no_version(run: Run, engine: FakeEngine) -> None:
    engine.moves = False
    advance_run(run.pk, engine)
    assert ModelVersion.objects.get().is_current
    assert Round.objects.get().version is None
    assert Post.objects.filter(arm="learning").first().model_version_id == run.start_version_id


def test_a_round_is_told_what_was_learned_so_far(
    run: Run, engine: FakeEngine, start: ModelVersion, folders: Path
) -> None:
    advance_run(run.pk, engine)
    posts = upcoming(run.bot)
    publish(posts[:5], reward=1.25)
    advance_run(run.pk, engine)
    first, second = engine.rounds
    media = folders / "media"
    assert (first.policy, first.reference) == (media / start.folder, media / start.folder)
    assert second.policy == media / Round.objects.get(number=0).version.folder
    assert second.reference == media / start.folder
    assert [(post.key, post.reward, post.arm) for post in second.scored] == [
        (str(post.pk), 1.25, post.arm) for post in posts[:5]
    ]
    assert set(second.published_texts) == {post.text for post in posts}
    assert len(second.history) == 40
    assert (first.state, second.state) == ({}, {"rounds": 1})
    assert second.seed == first.seed + 1


def test_a_round_is_told_what_the_learning_arm_did_not_write(run: Run, engine: FakeEngine, bot: Bot) -> None:
    own = make_post(bot, "published", arm="learning").text
    others = {make_post(bot, "published", arm=arm).text for arm in ("human", "baseline")}
    others.add(make_post(bot, "published", arm="learning", kind="reply", reply_to="remote-1").text)
    make_post(bot, "declined", arm="baseline")
    advance_run(run.pk, engine)
    (told,) = engine.rounds
    assert set(told.published_texts) == {own, *others}
    assert set(told.other_texts) == others


def test_a_fixed_seed_makes_a_round_repeatable(bot: Bot, start: ModelVersion, engine: FakeEngine) -> None:
    run = runs.start_online(bot, start, {"extra": {"seed": 0}})
    advance_run(run.pk, engine)
    assert engine.rounds[0].seed == 0


def test_no_arm_always_speaks_first(bot: Bot, start: ModelVersion, engine: FakeEngine) -> None:
    runs.start_online(bot, start, ONLINE | {"extra": {"seed": 1}})
    advance_run(Run.objects.get(kind="online").pk, engine)
    arms = list(Post.objects.order_by("created_at").values_list("arm", flat=True))
    assert sorted(arms) == ["baseline"] * 2 + ["learning"] * 6
    assert arms not in (sorted(arms), sorted(arms, reverse=True))


def test_history_is_on_one_scale_for_all_communities(run: Run, engine: FakeEngine, dataset: Dataset) -> None:
    dataset.examples.filter(position__gte=20).update(community="small")
    dataset.examples.filter(position=39).update(score=None)
    advance_run(run.pk, engine)
    told = engine.rounds[0].history
    assert told[39].score is None
    for part in (told[:20], told[20:39]):
        assert sum(post.score for post in part) == pytest.approx(0, abs=1e-9)
    every = [post.score for post in told[:39]]
    assert sum(score**2 for score in every) / len(every) == pytest.approx(1)


def test_a_round_needs_new_scores_and_room_in_the_queue(run: Run, engine: FakeEngine, bot: Bot) -> None:
    advance_run(run.pk, engine)
    posts = upcoming(bot)
    publish(posts[:3])
    advance_run(run.pk, engine)
    assert len(engine.rounds) == 1  # 3 new scores of 4
    publish(posts[3:4])
    late = [make_post(bot, PostState.APPROVED, arm="learning") for _ in range(4)]
    advance_run(run.pk, engine)
    assert len(engine.rounds) == 1  # 8 posts wait already
    Post.objects.filter(pk=late[0].pk).update(state=PostState.CANCELLED)
    advance_run(run.pk, engine)
    assert len(engine.rounds) == 2
    assert engine.rounds[1].learning_posts + engine.rounds[1].baseline_posts == 1


def test_when_nothing_is_under_way_the_next_round_need_not_wait(run: Run, engine: FakeEngine, bot: Bot) -> None:
    advance_run(run.pk, engine)
    posts = upcoming(bot)
    Post.objects.filter(pk__in=[post.pk for post in posts[1:]]).update(state=PostState.CANCELLED)
    publish(posts[:1], reward=None)
    advance_run(run.pk, engine)
    assert len(engine.rounds) == 1  # one reward is still to come
    Post.objects.filter(pk=posts[0].pk).update(next_reading_at=None)
    advance_run(run.pk, engine)
    assert len(engine.rounds) == 2


def test_posts_that_a_rule_set_aside_do_not_hold_up_a_bot_that_approves_by_itself(
    run: Run, engine: FakeEngine, bot: Bot
) -> None:
    advance_run(run.pk, engine)
    publish(upcoming(bot)[:4])
    for _ in range(8):
        make_post(bot, PostState.PENDING_REVIEW, arm="learning")
    assert rounds.is_due(run, rounds.configs.online(run.config))
    bot.approval = Bot.Approval.REVIEW
    bot.save()
    run.refresh_from_db()
    assert not rounds.is_due(run, rounds.configs.online(run.config))


def test_the_baselines_share_is_kept_over_the_run(bot: Bot, start: ModelVersion, engine: FakeEngine) -> None:
    for _ in range(6):
        make_post(bot, PostState.PUBLISHED, arm="learning")  # an earlier run's, without a yardstick
    run = runs.start_online(bot, start, {"queue_ahead": 5, "min_new_scores": 1, "baseline_share": 0.3})
    for _ in range(8):
        advance_run(run.pk, engine)
        publish(upcoming(bot))
    arms = [post.arm for post in Post.objects.filter(provenance__run=str(run.pk))]
    assert len(arms) == 40
    assert arms.count("baseline") == 12


def test_declined_posts_do_not_count_for_the_share(run: Run, engine: FakeEngine, bot: Bot) -> None:
    advance_run(run.pk, engine)
    Post.objects.filter(arm="baseline").update(state=PostState.PENDING_REVIEW)
    Post.objects.filter(arm="baseline").update(state=PostState.DECLINED)
    publish(upcoming(bot))
    advance_run(run.pk, engine)
    assert engine.rounds[1].baseline_posts == 4  # a quarter of 6 + 8, and none of it spoken yet: 3.5


def test_rounds_are_unique_on_run_and_number(run: Run) -> None:
    make_round(run, 0)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_round(run, 0)
    assert make_round(run, 1).number == 1


def test_a_roll_back_by_a_person_counts_in_the_next_round(run: Run, engine: FakeEngine, start: ModelVersion) -> None:
    advance_run(run.pk, engine)
    publish(upcoming(run.bot))
    versions.make_current(start.pk)
    advance_run(run.pk, engine)
    assert engine.rounds[1].policy.name == str(start.pk)
    assert Round.objects.get(number=1).version.parent == start


def test_a_roll_back_during_a_round_is_not_undone_by_it(run: Run, engine: FakeEngine, start: ModelVersion) -> None:
    advance_run(run.pk, engine)
    publish(upcoming(run.bot))
    engine.before_answer = lambda number: versions.make_current(start.pk)
    advance_run(run.pk, engine)
    assert versions.current_version(run.bot) == start
    assert Round.objects.count() == 1
    engine.before_answer = lambda number: None
    advance_run(run.pk, engine)
    assert engine.rounds[-1].policy.name == str(start.pk)
    assert Round.objects.get(number=1).version.parent == start


def test_after_the_last_post_the_run_is_finished(bot: Bot, start: ModelVersion, engine: FakeEngine) -> None:
    run = runs.start_online(bot, start, ONLINE | {"stop_after_posts": 8})
    advance_run(run.pk, engine)
    publish(upcoming(bot)[:7])
    advance_run(run.pk, engine)
    assert again(run).state == "running"
    publish(list(Post.objects.filter(state=PostState.APPROVED))[:1])
    advance_run(run.pk, engine)
    assert again(run).state == "finished"
    assert run.finished_at is not None


@pytest.mark.parametrize(("wish", "state"), [(runs.pause_run, "paused"), (runs.stop_run, "stopped")])
def test_a_wish_is_obeyed_before_the_next_round(run: Run, engine: FakeEngine, wish: Any, state: str) -> None:
    engine.before_answer = lambda number: wish(run.pk)
    advance_run(run.pk, engine)
    assert (again(run).state, Round.objects.count()) == ("running", 1)
    publish(upcoming(run.bot))
    advance_run(run.pk, engine)
    assert (again(run).state, Round.objects.count()) == (state, 1)


def test_a_paused_run_goes_on_with_the_next_number(run: Run, engine: FakeEngine) -> None:
    advance_run(run.pk, engine)
    runs.pause_run(run.pk)
    advance_run(run.pk, engine)
    assert again(run).state == "paused"
    publish(upcoming(run.bot))
    runs.resume_run(run.pk)
    advance_run(run.pk, engine)
    assert list(Round.objects.values_list("number", flat=True)) == [0, 1]


@pytest.mark.parametrize("moves", [True, False])
def test_a_lost_lease_books_nothing(run: Run, engine: FakeEngine, moves: bool) -> None:
    second = FakeEngine(engine.folder, moves=moves)

    def taken_over(number: int) -> None:
        Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        advance_run(run.pk, second)

    engine.before_answer = taken_over
    advance_run(run.pk, engine)
    assert (len(engine.rounds), len(second.rounds)) == (1, 1)
    assert Round.objects.count() == 1
    assert Post.objects.count() == 8
    assert ModelVersion.objects.filter(kind="online").count() == moves
    assert again(run).fence == 2


def test_two_workers_do_not_play_one_round(run: Run, engine: FakeEngine) -> None:
    second = FakeEngine(engine.folder)
    engine.before_answer = lambda number: advance_run(run.pk, second)
    advance_run(run.pk, engine)
    assert (len(engine.rounds), len(second.rounds)) == (1, 0)


def test_a_fault_of_the_engine_fails_the_run_and_leaves_no_trace_of_the_round(run: Run, engine: FakeEngine) -> None:
    engine.fault = EngineError("The weights are damaged.")
    advance_run(run.pk, engine)
    assert (again(run).state, run.error) == ("failed", "The weights are damaged.")
    assert not Round.objects.exists()
    assert not Post.objects.exists()


def test_lost_weights_fail_the_run_with_clear_words(run: Run, engine: FakeEngine, folders: Path) -> None:
    (folders / "media" / run.start_version.folder / "model.safetensors").unlink()
    advance_run(run.pk, engine)
    assert again(run).state == "failed"
    assert run.error == f"The weights of {run.start_version.folder} are not in the artifact storage."


def test_a_kill_while_booking_leaves_no_trace(run: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "propose_posts", killed)
        with pytest.raises(KeyboardInterrupt):
            advance_run(run.pk, engine)
    assert not Round.objects.exists()
    assert not Metric.objects.filter(run=run).exists()
    assert ModelVersion.objects.filter(kind="online").count() == 0
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    advance_run(run.pk, engine)
    assert (Round.objects.count(), Post.objects.count()) == (1, 8)
    assert [played.number for played in engine.rounds] == [0, 0]
    assert engine.rounds[0].seed == engine.rounds[1].seed


def test_a_persons_own_posts_teach_nothing_and_fill_no_queue(run: Run, engine: FakeEngine, bot: Bot) -> None:
    make_reward(make_post(bot, PostState.PUBLISHED, arm="human"))
    for _ in range(8):
        make_post(bot, PostState.APPROVED, arm="human")
    advance_run(run.pk, engine)
    assert engine.rounds[0].scored == ()
    assert engine.rounds[0].learning_posts + engine.rounds[0].baseline_posts == 8
    assert history.rewarded_count(bot) == 0


def test_a_version_made_by_hand_without_a_dataset_has_no_history(bot: Bot) -> None:
    version = make_version(bot)
    assert history.historic_posts(make_run(bot, "online", start_version=version)) == ()


def test_rounds_that_come_to_nothing_do_not_go_on_for_ever(run: Run, engine: FakeEngine) -> None:
    for played in range(3):
        advance_run(run.pk, engine)
        assert (again(run).state, len(engine.rounds)) == ("running", played + 1)
        Post.objects.filter(state=PostState.APPROVED).update(state=PostState.CANCELLED)
    advance_run(run.pk, engine)
    assert (again(run).state, len(engine.rounds)) == ("failed", 3)
    assert run.error.startswith("The last 3 rounds brought not one reward")


def test_a_reward_now_and_then_is_enough_to_go_on(run: Run, engine: FakeEngine) -> None:
    for _ in range(6):
        advance_run(run.pk, engine)
        publish(upcoming(run.bot)[:1])
        Post.objects.filter(state=PostState.APPROVED).update(state=PostState.CANCELLED)
    assert (again(run).state, len(engine.rounds)) == ("running", 6)


def test_a_configuration_that_is_no_longer_understood_fails_with_plain_words(run: Run, engine: FakeEngine) -> None:
    Run.objects.filter(pk=run.pk).update(config={"colour": "blue"})
    advance_run(run.pk, engine)
    assert (again(run).state, run.error) == ("failed", "There is no setting “colour”.")
