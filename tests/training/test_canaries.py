"""Trials of versions: who writes what, how a trial is decided, and what a roll-back undoes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts import audit
from accounts.models import AuditEntry
from bots.models import Bot, Post
from bots.states import PostState
from tests.factories import make_bot, make_canary, make_post, make_run, make_version
from tests.training.conftest import ONLINE
from tests.training.fake_engine import FakeEngine
from tests.training.test_rounds import publish, upcoming
from training.models import Canary, ModelVersion, Round, Run
from training.services import canaries, runs, versions
from training.services.worker import advance_run, sweep_runs

TRIED = {"queue_ahead": 10, "min_new_scores": 4, "baseline_share": 0.2, "canary_share": 0.25}
GOOD = {"canary": {"posts": 20, "stable_posts": 60, "difference": 0.5, "low": -0.1, "high": 1.1}}
BAD = {"canary": {"posts": 20, "stable_posts": 60, "difference": -0.9, "low": -1.6, "high": -0.2}}


@pytest.fixture
def tried(bot: Bot, start: ModelVersion) -> Run:
    """Online learning whose new versions go on trial."""
    return runs.start_online(bot, start, TRIED)


def on_trial(run: Run, engine: FakeEngine) -> Canary:
    advance_run(run.pk, engine)
    return Canary.objects.get(state="running")


def play(run: Run, engine: FakeEngine, report: dict[str, Any]) -> Round:
    """The next round, with what the engine reports."""
    publish(upcoming(run.bot))
    engine.report = report
    advance_run(run.pk, engine)
    return run.rounds.order_by("-number").first()


def current(run: Run) -> ModelVersion | None:
    return versions.current_version(run.bot)


def by_speaker(canary: Canary) -> dict[str, int]:
    return {speaker: canaries.posts_of(canary, speaker).count() for speaker in canaries.SPEAKERS}


def test_without_a_share_nothing_is_tried(run: Run, engine: FakeEngine) -> None:
    advance_run(run.pk, engine)
    assert not Canary.objects.exists()
    assert (engine.rounds[0].stable, engine.rounds[0].stable_posts) == (None, 0)


def test_a_new_version_goes_on_trial_and_writes_its_share_from_the_first_round_on(
    tried: Run, engine: FakeEngine, start: ModelVersion
) -> None:
    canary = on_trial(tried, engine)
    made = Round.objects.get().version
    assert (canary.version, canary.against, canary.share) == (made, start, 0.25)
    assert current(tried) == start
    told = engine.rounds[0]
    assert (told.learning_posts, told.stable_posts, told.baseline_posts) == (2, 6, 2)
    assert told.stable == told.policy
    assert by_speaker(canary) == {"policy": 2, "stable": 6}
    wrote = Post.objects.filter(arm="learning").values_list("provenance__speaker", "model_version_id")
    assert set(wrote) == {("policy", made.pk), ("stable", start.pk)}
    assert "canary" not in Post.objects.filter(arm="baseline").first().provenance
    assert "v2 goes on trial against v1" in Round.objects.get().decisions[-1]
    assert AuditEntry.objects.filter(action="canary.start").count() == 1


def test_a_round_whose_policy_does_not_move_tries_nothing(tried: Run, engine: FakeEngine, start: ModelVersion) -> None:
    engine.moves = False
    advance_run(tried.pk, engine)
    assert not Canary.objects.exists()
    assert set(Post.objects.values_list("model_version_id", flat=True)) == {start.pk}


def test_rounds_train_on_from_the_version_on_trial_and_its_posts_count_together(
    tried: Run, engine: FakeEngine, start: ModelVersion, folders: Any
) -> None:
    canary = on_trial(tried, engine)
    posts = upcoming(tried.bot)
    second = play(tried, engine, {"canary": {"posts": 2, "stable_posts": 6}})
    canary.refresh_from_db()
    told = engine.rounds[1]
    assert told.policy == folders / "media" / Round.objects.get(number=0).version.folder
    assert told.stable == folders / "media" / start.folder
    assert (canary.version, canary.state, current(tried)) == (second.version, "running", start)
    assert canary.report == {"posts": 2, "stable_posts": 6}
    assert by_speaker(canary) == {"policy": 4, "stable": 12}
    speakers = {post.key: post.speaker for post in told.scored}
    assert sorted(speakers.values()) == [""] * 2 + ["policy"] * 2 + ["stable"] * 6
    assert all(speakers[str(post.pk)] == post.provenance.get("speaker", "") for post in posts)


def test_a_version_that_does_no_worse_takes_over(tried: Run, engine: FakeEngine) -> None:
    first = on_trial(tried, engine)
    played = play(tried, engine, GOOD)
    first.refresh_from_db()
    assert (first.state, first.version) == ("promoted", Round.objects.get(number=0).version)
    assert first.reason.startswith("Its posts did no worse: 20 posts did +0.50 sd against 60")
    assert current(tried) == first.version
    assert any("v2 takes over from v1" in decision for decision in played.decisions)
    following = Canary.objects.get(state="running")  # the next one's turn
    assert (following.version, following.against) == (played.version, first.version)
    # Of v1's posts none may stand for v2's: they go out as any learning post does.
    assert by_speaker(following) == {"policy": 2, "stable": 0}
    of_v1 = Post.objects.filter(provenance__round=1, arm="learning", model_version_id=first.against_id)
    assert [post.provenance.get("canary") for post in of_v1] == [None] * 6


def test_a_version_that_does_worse_is_rolled_back_and_not_learned_from(
    tried: Run, engine: FakeEngine, start: ModelVersion
) -> None:
    canary = on_trial(tried, engine)
    waiting = Post.objects.filter(provenance__speaker="policy").first()
    publish([post for post in upcoming(tried.bot) if post.pk != waiting.pk])
    engine.report = BAD
    advance_run(tried.pk, engine)
    canary.refresh_from_db()
    waiting.refresh_from_db()
    played = Round.objects.get(number=1)
    assert (canary.state, current(tried), played.version) == ("rolled_back", start, None)
    assert played.report["rolled_back"].startswith("Its posts did worse")
    assert any("v2 was rolled back, v1 speaks for all posts." in decision for decision in played.decisions)
    assert waiting.state == PostState.CANCELLED
    assert not Post.objects.filter(provenance__round=1, provenance__speaker="policy").exists()
    assert set(upcoming(tried.bot)) == set(Post.objects.filter(provenance__round=1))
    entry = AuditEntry.objects.get(action="canary.rolled_back")
    assert (entry.before, entry.after["reason"]) == ({"state": "running"}, canary.reason)
    engine.report = {}
    advance_run(tried.pk, engine)  # at once: what was taken out of the queue is made up for
    assert engine.rounds[2].policy.name == str(start.pk)
    assert Round.objects.get(number=2).version.parent == start


def test_an_alarm_about_posts_on_trial_rolls_back_and_one_about_all_posts_does_not(
    tried: Run, engine: FakeEngine
) -> None:
    canary = on_trial(tried, engine)
    quiet = {"name": "entropy", "level": "warning", "sentence": "Low.", "on_trial": True}
    of_all = {"name": "bait_share", "level": "alarm", "sentence": "Much bait.", "on_trial": False}
    play(tried, engine, {"watchdog": [of_all, quiet]})
    canary.refresh_from_db()
    assert canary.state == "running"
    of_trial = {"name": "bait_share", "level": "alarm", "sentence": "All bait.", "on_trial": True}
    play(tried, engine, {"watchdog": [of_all, quiet, of_trial]})
    canary.refresh_from_db()
    assert (canary.state, canary.reason) == ("rolled_back", "The watchdog raised an alarm: All bait.")


def test_the_engine_is_told_what_was_written_on_trial_before_it_has_a_score(tried: Run, engine: FakeEngine) -> None:
    canary = on_trial(tried, engine)
    wrote = set(canaries.posts_of(canary, "policy").values_list("text", flat=True))
    publish([post for post in upcoming(tried.bot) if post.text not in wrote])
    advance_run(tried.pk, engine)
    first, second = engine.rounds
    assert (first.trial_texts, set(second.trial_texts), len(wrote)) == ((), wrote, 2)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ({"posts": 7, "stable_posts": 60}, None),
        ({"posts": 31, "stable_posts": 90, "difference": 0.1, "low": -0.6, "high": 0.8}, None),
        ({"posts": 31, "stable_posts": 90, "difference": 0.6, "low": -0.24, "high": 1.4}, "promoted"),
        ({"posts": 31, "stable_posts": 90, "difference": -0.6, "low": -1.3, "high": -0.01}, "rolled_back"),
        ({"posts": 32, "stable_posts": 90, "difference": -0.2, "low": -0.9, "high": 0.5}, "promoted"),
        ({"posts": 32, "stable_posts": 90, "difference": -0.3, "low": -1.0, "high": 0.4}, "rolled_back"),
        ({"posts": 31, "stable_posts": 90, "difference": 0.0}, None),
        ({"posts": 32, "stable_posts": 5, "difference": -0.3}, "rolled_back"),
    ],
)
def test_the_verdict_by_rewards(bot: Bot, found: dict[str, Any], state: str | None) -> None:
    canary = make_canary(make_version(bot), make_version(bot))
    verdict = canaries.verdict(canary, {"canary": found}, most_posts=32)
    assert (verdict and verdict[0]) == state


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            {"posts": 50, "stable_posts": 50, "difference": 0.0},
            "no difference was seen: 50 posts did +0.00 sd against 50 of the other.",
        ),
        ({"posts": 32, "stable_posts": 0}, "no difference was seen: 32 posts against 0 of the other."),
        (
            {"posts": 32, "stable_posts": 7, "difference": 0.5},
            "shows no harm: 32 posts did +0.50 sd against 7 of the other.",
        ),
    ],
)
def test_a_trial_that_no_interval_decides_ends_when_it_is_long_enough(
    tried: Run, engine: FakeEngine, found: dict[str, Any], words: str
) -> None:
    canary = on_trial(tried, engine)
    play(tried, engine, {"canary": found})
    canary.refresh_from_db()
    assert (canary.state, canary.reason) == ("promoted", f"The trial is long enough, and {words}")
    assert current(tried) == canary.version


@pytest.mark.parametrize(
    ("stopped", "posts", "others_stopped", "others", "chance"),
    [
        (3, 3, 0, 1, 1 / 5),  # 3 + 3 posts, 4 of them stopped: C(3,3)·C(3,1) / C(6,4)
        (4, 4, 0, 28, 30 / 278256),  # C(4,4)·C(30,1) / C(34,5)
    ],
)
def test_fishers_exact_test_by_hand(stopped: int, posts: int, others_stopped: int, others: int, chance: float) -> None:
    assert canaries._chance(stopped, posts, others_stopped, others) == pytest.approx(chance)


def trial_with(bot: Bot, blocked: int, others_blocked: int = 0, state: str = "blocked") -> Canary:
    """A trial with 8 posts of the new version and 24 of the other, so many of them stopped."""
    canary = make_canary(make_version(bot), make_version(bot))
    for speaker, count, stopped in (("policy", 8, blocked), ("stable", 24, others_blocked)):
        for number in range(count):
            marks = {"canary": str(canary.pk), "speaker": speaker}
            make_post(bot, state if number < stopped else "approved", arm="learning", provenance=marks)
    return canary


@pytest.mark.parametrize("state", ["blocked", "rejected", "deleted"])
def test_a_version_whose_posts_are_stopped_is_rolled_back_by_the_sweep(bot: Bot, state: str) -> None:
    canary = trial_with(bot, blocked=5, state=state)
    sweep_runs()
    canary.refresh_from_db()
    assert canary.state == "rolled_back"
    assert canary.reason.startswith("5 of its 8 posts were ")
    assert canary.report["withdrawn"] == 3
    assert set(canaries.posts_of(canary, "stable").values_list("state", flat=True)) == {"approved"}


@pytest.mark.parametrize(("blocked", "others"), [(2, 0), (3, 6), (0, 0)])
def test_a_few_stopped_posts_are_chance(bot: Bot, blocked: int, others: int) -> None:
    trial_with(bot, blocked, others)
    assert canaries.sweep() == 0


def test_the_sweep_looks_at_every_organization(bot: Bot, world: Any) -> None:
    from accounts.tenancy import no_tenant, tenant

    trial_with(bot, 5)
    with tenant(world.globex.pk):
        trial_with(make_bot(), 6)
    with no_tenant():
        assert canaries.sweep() == 2


# What people do


def test_any_version_can_be_tried(tried: Run, engine: FakeEngine, start: ModelVersion) -> None:
    version = make_version(tried.bot, parent=start)
    with audit.acting(audit.Actor("alice")):
        canary = canaries.start_trial(version.pk, 0.5)
    assert (canary.version, canary.against, canary.state) == (version, start, "running")
    assert AuditEntry.objects.get(action="canary.start").actor == "alice"


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(bot: Bot, share: float) -> None:
    make_version(bot)
    with pytest.raises(ValidationError, match="between 0 and 1"):
        canaries.start_trial(make_version(bot).pk, share)


def test_the_current_version_and_a_second_trial_are_refused(bot: Bot) -> None:
    current, other, third = (make_version(bot) for _ in range(3))
    with pytest.raises(ValidationError, match="v1 speaks for all posts already"):
        canaries.start_trial(current.pk, 0.5)
    canaries.start_trial(other.pk, 0.5)
    with pytest.raises(ValidationError, match="v2 is on trial already"):
        canaries.start_trial(third.pk, 0.5)


def test_a_trial_is_ended_promoted_or_rolled_back_at_once(bot: Bot) -> None:
    stable = make_version(bot)
    ends = {"ended": canaries.end_trial, "rolled_back": canaries.roll_back, "promoted": versions.promote_trial}
    for state, end in ends.items():
        canary = canaries.start_trial(make_version(bot).pk, 0.5)
        assert versions.current_version(bot) == stable
        with audit.acting(audit.Actor("alice")):
            end(canary.pk)
        canary.refresh_from_db()
        assert (canary.state, "alice" in canary.reason, canary.ended_at is not None) == (state, True, True)
        for again in ends.values():
            with pytest.raises(ValidationError, match="This trial is over"):
                again(canary.pk)
    assert versions.current_version(bot) == canary.version


def test_making_a_version_current_ends_the_trial(bot: Bot) -> None:
    make_version(bot)
    for number, state in ((2, "promoted"), (3, "ended")):
        tried, other = make_version(bot), make_version(bot)
        canary = canaries.start_trial(tried.pk, 0.5)
        versions.make_current((tried if number == 2 else other).pk)
        canary.refresh_from_db()
        assert canary.state == state


@pytest.mark.parametrize("end", [canaries.end_trial, canaries.roll_back])
def test_a_trial_that_a_person_ends_during_a_round_takes_the_round_with_it(
    tried: Run, engine: FakeEngine, start: ModelVersion, end: Any
) -> None:
    canary = on_trial(tried, engine)
    publish(upcoming(tried.bot))
    engine.before_answer = lambda number: end(canary.pk)
    advance_run(tried.pk, engine)
    assert (Round.objects.count(), current(tried)) == (1, start)
    said = tried.events.filter(step=1).values_list("text", flat=True)
    assert list(said) == ["Round 1 was set aside: another version was chosen meanwhile."]
    assert ModelVersion.objects.filter(kind="online").count() == 1
    engine.before_answer = lambda number: None
    advance_run(tried.pk, engine)
    assert engine.rounds[-1].policy.name == str(start.pk)
    assert Round.objects.get(number=1).version.parent == start


def test_a_trial_that_a_person_starts_during_a_round_takes_the_round_with_it(run: Run, engine: FakeEngine) -> None:
    other = make_version(run.bot)
    engine.before_answer = lambda number: canaries.start_trial(other.pk, 0.5)
    advance_run(run.pk, engine)
    assert not Round.objects.exists()
    assert Canary.objects.get().version == other


def test_a_promotion_by_a_person_during_a_round_keeps_the_round(tried: Run, engine: FakeEngine) -> None:
    canary = on_trial(tried, engine)
    publish(upcoming(tried.bot))
    engine.before_answer = lambda number: versions.promote_trial(canary.pk)
    advance_run(tried.pk, engine)
    assert current(tried) == canary.version
    following = Canary.objects.get(state="running")
    assert following.version == Round.objects.get(number=1).version
    assert by_speaker(following) == {"policy": 2, "stable": 0}


def test_another_bots_trial_is_its_own(run: Run, engine: FakeEngine) -> None:
    other = make_bot()
    make_version(other)
    canaries.start_trial(make_version(other).pk, 0.5)
    advance_run(run.pk, engine)
    assert engine.rounds[0].stable is None
    assert make_run(other, "online", config=ONLINE).bot == other
