"""What learning goes on from when it goes on from other weights: after a roll-back, and in a new run.

The service's half is told by a fake engine, the whole by the real one on a small writer.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bots.models import Bot
from tests.training.conftest import ONLINE
from tests.training.engine import writers
from tests.training.fake_engine import FakeEngine
from tests.training.test_canaries import BAD, TRIED, on_trial, play
from tests.training.test_rounds import publish, upcoming
from training.engine.online import run_round
from training.engine.round_types import RoundInput, RoundOutput
from training.engine.types import OnStep
from training.models import ModelVersion, Round, Run
from training.services import canaries, runs, versions
from training.services.worker import advance_run


def made_in(run: Run, number: int) -> ModelVersion:
    version = Round.objects.get(run=run, number=number).version
    assert version is not None
    return version


def test_a_round_is_told_what_the_engine_knew_when_it_made_the_policy(run: Run, engine: FakeEngine) -> None:
    advance_run(run.pk, engine)
    play(run, engine, {})
    engine.moves = False
    play(run, engine, {})
    play(run, engine, {})
    assert [told.learned for told in engine.rounds] == [{}, {"rounds": 1}, {"rounds": 2}, {"rounds": 2}]
    assert [told.state for told in engine.rounds] == [{}, {"rounds": 1}, {"rounds": 2}, {"rounds": 3}]


def test_after_a_persons_roll_back_it_is_told_what_belongs_to_the_older_version(
    run: Run, engine: FakeEngine, start: ModelVersion
) -> None:
    advance_run(run.pk, engine)
    play(run, engine, {})
    versions.make_current(made_in(run, 0).pk)
    play(run, engine, {})
    versions.make_current(start.pk)
    play(run, engine, {})
    assert [told.learned for told in engine.rounds[2:]] == [{"rounds": 1}, {}]
    assert [told.state for told in engine.rounds[2:]] == [{"rounds": 2}, {"rounds": 3}]


def test_after_the_engines_roll_back_too(run: Run, engine: FakeEngine) -> None:
    advance_run(run.pk, engine)
    best = [str(post.pk) for post in upcoming(run.bot) if post.arm == "learning"]
    play(run, engine, {})
    play(run, engine, {"rollback": {"reason": "Its posts have grown worse.", "best_posts": best, "judged": 3}})
    play(run, engine, {})
    assert (engine.rounds[3].learned, engine.rounds[3].state) == ({"rounds": 1}, {"rounds": 3})


@pytest.mark.parametrize("by_a_person", [False, True])
def test_after_a_trial_of_several_rounds_too(
    bot: Bot, start: ModelVersion, engine: FakeEngine, by_a_person: bool
) -> None:
    run = runs.start_online(bot, start, TRIED)
    canary = on_trial(run, engine)
    play(run, engine, {})
    play(run, engine, {} if by_a_person else BAD)
    if by_a_person:
        canaries.roll_back(canary.pk)
    play(run, engine, {})
    assert [told.learned for told in engine.rounds] == [{}, {"rounds": 1}, {"rounds": 2}, {}]
    assert engine.rounds[3].state == {"rounds": 3}


def test_a_new_run_goes_on_from_what_its_version_has_learned(run: Run, engine: FakeEngine) -> None:
    advance_run(run.pk, engine)
    play(run, engine, {})
    runs.stop_run(run.pk)
    advance_run(run.pk, engine)
    again = runs.start_online(run.bot, made_in(run, 1), ONLINE)
    advance_run(again.pk, engine)
    assert (engine.rounds[2].number, engine.rounds[2].state, engine.rounds[2].learned) == (0, {}, {"rounds": 2})


class RealRounds(FakeEngine):
    """Rounds of the real engine; what they report of themselves is as a test has it."""

    def run_round(self, round_input: RoundInput, on_step: OnStep) -> RoundOutput:
        self.rounds.append(round_input)
        output = run_round(round_input, on_step)
        return RoundOutput(**{**vars(output), "report": self.report})


@pytest.fixture
def real(tmp_path: Path) -> RealRounds:
    import torch

    torch.set_num_threads(1)  # as in the engine's own tests
    return RealRounds(tmp_path / "engine")


@pytest.fixture
def learner(bot: Bot, real: RealRounds) -> Run:
    """PPO of the small writer, which has a model but no past posts."""
    first = versions.create_version(
        bot, writers.writer_folder(), kind="offline", run=None, parent=None, base="writer", metrics={}
    )
    versions.make_current(first.pk)
    wanted = {"algorithm": "ppo", "queue_ahead": 8, "min_new_scores": 4, "max_new_tokens": 24, "kl_target": 60.0}
    return runs.start_online(bot, first, wanted | {"extra": {"ppo_learning_rate": 1e-3}})


def learn(run: Run, engine: RealRounds) -> Round:
    """Publish what waits, with scores that differ, and play the next round."""
    for number, post in enumerate(upcoming(run.bot)):
        publish([post], reward=float(number % 3))
    advance_run(run.pk, engine)
    played = run.rounds.order_by("-number").first()
    assert played is not None
    return played


def without_new_scores(run: Run, engine: RealRounds) -> None:
    """Play the next round after what waited was cancelled."""
    run.bot.posts.filter(state="approved").update(state="cancelled")
    advance_run(run.pk, engine)


def keys_of(run: Run, *numbers: int) -> set[str]:
    """The learning arm's posts that these rounds proposed."""
    posts = run.bot.posts.filter(provenance__run=str(run.pk), provenance__round__in=numbers, arm="learning")
    return {str(pk) for pk in posts.values_list("pk", flat=True)}


@pytest.mark.parametrize("by_a_person", [False, True])
def test_what_only_discarded_weights_had_learned_is_learned_again(
    learner: Run, real: RealRounds, by_a_person: bool
) -> None:
    advance_run(learner.pk, real)
    second = learn(learner, real).version
    third = learn(learner, real)
    assert set(third.engine_state["trained"]) == keys_of(learner, 0, 1)
    if by_a_person:
        versions.make_current(second.pk)
    else:
        real.report = {"rollback": {"reason": "Worse.", "best_posts": list(keys_of(learner, 1)), "judged": 5}}
        learn(learner, real)
        real.report = {}
    assert versions.current_version(learner.bot) == second
    without_new_scores(learner, real)
    played = learner.rounds.order_by("-number").first()
    assert played.version.parent == second
    assert set(played.engine_state["trained"]) == keys_of(learner, 0, 1, *(() if by_a_person else (2,)))


def test_a_new_run_does_not_learn_twice(learner: Run, real: RealRounds) -> None:
    advance_run(learner.pk, real)
    known = learn(learner, real)
    runs.stop_run(learner.pk)
    advance_run(learner.pk, real)
    again = runs.start_online(learner.bot, known.version, learner.config)
    without_new_scores(again, real)
    played = again.rounds.get()
    assert "No policy step: no new scores." in played.decisions
    assert played.version is None
    assert set(played.engine_state["trained"]) == keys_of(learner, 0)
