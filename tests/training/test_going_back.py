"""Going back to an earlier version because the engine calls for it, and making up for what a roll-back withdraws."""

from __future__ import annotations

import pytest

from accounts.models import AuditEntry
from bots.models import Bot, Post
from tests.factories import make_post
from tests.training.fake_engine import FakeEngine
from tests.training.test_canaries import TRIED, current, on_trial, play, tried
from tests.training.test_rounds import publish, upcoming
from training.models import Canary, ModelVersion, Round, Run
from training.services import canaries, runs, versions
from training.services.worker import advance_run

__all__ = ["tried"]  # a fixture


def test_the_engine_may_ask_to_go_back_to_the_version_that_wrote_the_best_posts(
    run: Run, engine: FakeEngine, start: ModelVersion
) -> None:
    advance_run(run.pk, engine)
    best = [str(post.pk) for post in upcoming(run.bot) if post.arm == "learning"]
    good = Round.objects.get().version
    kept = Post.objects.get(pk=best[0])
    publish([post for post in upcoming(run.bot) if post != kept])
    advance_run(run.pk, engine)
    left = [post for post in upcoming(run.bot) if post.arm == "learning" and post != kept][:2]
    publish([post for post in upcoming(run.bot) if post not in (kept, *left)])
    chosen = make_post(run.bot, "approved", arm="human", model_version_id=left[0].model_version_id)
    engine.report = {"rollback": {"reason": "Its posts have grown worse.", "best_posts": best, "judged": 3}}
    advance_run(run.pk, engine)
    played = Round.objects.get(number=2)
    assert (current(run), played.version, played.report["rolled_back"]) == (good, None, "Its posts have grown worse.")
    assert played.decisions[-2:] == [
        "Rolled back from v3 to v2.",
        "Withdrawn: 2 learning posts of other versions that were not sent yet.",
    ]
    assert set(Post.objects.filter(pk__in=[post.pk for post in left]).values_list("state", flat=True)) == {"cancelled"}
    assert {post.arm for post in upcoming(run.bot) if post not in (kept, chosen)} == {"baseline"}
    assert {kept, chosen} <= set(upcoming(run.bot))  # the better version's own, and one that a person chose
    engine.report = {}
    advance_run(run.pk, engine)
    assert engine.rounds[-1].policy.name == str(good.pk)
    assert AuditEntry.objects.filter(action="version.make_current", after__number=2).count() == 2


@pytest.mark.parametrize(
    ("best", "speaks", "left"), [("stable", "v2", {"baseline", "learning"}), ("first", "v1", {"baseline"})]
)
def test_going_back_during_a_trial_ends_the_trial(
    tried: Run, engine: FakeEngine, start: ModelVersion, best: str, speaks: str, left: set[str]
) -> None:
    engine.moves = False
    advance_run(tried.pk, engine)
    of = {"first": upcoming(tried.bot)}  # v1's
    engine.moves = True
    play(tried, engine, {})
    versions.promote_trial(Canary.objects.get(state="running").pk)
    play(tried, engine, {})
    trial = Canary.objects.get(state="running")
    assert str(trial) == "v3 against v2"
    of["stable"] = list(Post.objects.filter(model_version_id=trial.against_id))
    waiting = canaries.posts_of(trial, "policy").first()
    publish([post for post in upcoming(tried.bot) if post != waiting])
    keys = [str(post.pk) for post in of[best] if post.arm == "learning"]
    engine.report = {"rollback": {"reason": "Its posts have grown worse.", "best_posts": keys, "judged": 3}}
    advance_run(tried.pk, engine)
    trial.refresh_from_db()
    waiting.refresh_from_db()
    played = Round.objects.latest("number")
    assert (trial.state, trial.reason) == ("rolled_back", "Its posts have grown worse.")
    assert (str(current(tried)), played.version, waiting.state) == (speaks, None, "cancelled")
    assert f"Rolled back from v3 to {speaks}." in played.decisions
    assert {post.arm for post in upcoming(tried.bot)} == left
    engine.report = {}
    advance_run(tried.pk, engine)
    assert engine.rounds[-1].policy.name == str(ModelVersion.objects.get(number=int(speaks[1:])).pk)


def test_with_nothing_to_go_back_to_the_round_says_so(run: Run, engine: FakeEngine, start: ModelVersion) -> None:
    advance_run(run.pk, engine)
    played = play(run, engine, {"rollback": {"reason": "Worse.", "best_posts": []}})
    assert "No earlier version is left to roll back to." in played.decisions
    assert current(run) == played.version


def test_roll_backs_one_after_the_other_do_not_play_rounds_without_end(run: Run, engine: FakeEngine) -> None:
    advance_run(run.pk, engine)
    for number in (1, 2):
        Round.objects.create(run=run, number=number, report={"rolled_back": "x"}, finished_at=run.created_at)
    played = len(engine.rounds)
    advance_run(run.pk, engine)
    assert len(engine.rounds) == played


def test_what_a_person_or_the_sweep_withdraws_is_made_up_for_at_once_and_once(
    bot: Bot, start: ModelVersion, engine: FakeEngine
) -> None:
    tried = runs.start_online(bot, start, TRIED | {"canary_share": 0.5})
    first = on_trial(tried, engine)
    advance_run(tried.pk, engine)
    assert len(engine.rounds) == 1  # the queue is full
    canaries.roll_back(first.pk)
    advance_run(tried.pk, engine)
    assert (len(engine.rounds), len(upcoming(tried.bot))) == (2, 10)
    advance_run(tried.pk, engine)
    assert len(engine.rounds) == 2
    second = canaries.roll_back(Canary.objects.get(state="running").pk)
    assert second.report == {"withdrawn": 2}
    advance_run(tried.pk, engine)
    assert len(engine.rounds) == 2  # not for ever, should one roll-back follow the other


def test_a_roll_back_that_withdraws_nothing_plays_no_round(tried: Run, engine: FakeEngine) -> None:
    canary = on_trial(tried, engine)
    publish(list(canaries.posts_of(canary, "policy")))
    canaries.roll_back(canary.pk)
    advance_run(tried.pk, engine)
    assert len(engine.rounds) == 1
