"""Alerts of a run: each planted once, none on an ordinary run; and the log of its life."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from accounts.models import Notification
from bots.models import Bot
from tests.factories import make_bot, make_run
from tests.training.fake_engine import FakeEngine
from training.engine.errors import TrainingDiverged
from training.models import Dataset, Run, RunEvent
from training.services import alerts, finetuning, reconfiguration, runs
from training.services.telemetry import Recorder
from training.services.worker import advance_run

ALARM = {"name": "bait_share", "level": "alarm", "sentence": "50% of the last 64 posts fish for reactions."}
WARNING = ALARM | {"level": "warning"}


def alerts_of(run: Run) -> dict[str, tuple[int | None, str]]:
    rows = RunEvent.objects.filter(run=run, level="alert")
    return {row.kind: (row.step, row.text) for row in rows}


def lines_of(run: Run) -> list[str]:
    return list(RunEvent.objects.filter(run=run).order_by("pk").values_list("text", flat=True))


@pytest.fixture
def offline(bot: Bot) -> Run:
    return make_run(bot, state="running")


@pytest.fixture
def online(bot: Bot) -> Run:
    return make_run(make_bot(), "online", state="running", config={"kl_target": 4.0})


def slices(run: Run, losses: list[float], size: int = 50) -> None:
    """The losses as they come, a new recorder a slice."""
    for start in range(0, len(losses), size):
        with Recorder(run) as recorder:
            for at, loss in enumerate(losses[start : start + size]):
                recorder.on_step(start + at + 1, {"loss": loss, "gradient_norm": 1.0})


def ordinary(steps: int) -> list[float]:
    """A noisy loss that falls, with a bad batch now and then."""
    rng = random.Random(5)
    return [2 + 2.5 * math.exp(-at / 60) + rng.gauss(0, 0.4) + (3 if at % 97 == 0 else 0) for at in range(steps)]


def test_an_ordinary_run_raises_no_alert(offline: Run, online: Run) -> None:
    slices(offline, ordinary(400))
    rng = random.Random(2)
    with Recorder(offline) as recorder:
        for at in range(30):  # overfits as much as every early stopping waits for
            recorder.on_step(at * 20, {"heldout_loss": 3 + 2 * math.exp(-at / 5) + 0.004 * at + rng.gauss(0, 0.01)})
    with Recorder(online) as recorder:
        for at in range(40):
            recorder.on_step(at, {"kl": rng.uniform(0, 9), "loss": rng.gauss(0, 5), "reward_mean": at / 40})
    alerts.of_round(online, 3, {"watchdog": [WARNING, ALARM | {"level": "ok"}]})
    alerts.of_round(online, 4, {})
    assert (alerts_of(offline), alerts_of(online)) == ({}, {})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_what_is_not_a_number_is_left_out_and_told(offline: Run, value: float) -> None:
    with Recorder(offline) as recorder:
        recorder.on_step(7, {"gradient_norm": value})
    assert list(alerts_of(offline)) == ["not_a_number"]
    step, text = alerts_of(offline)["not_a_number"]
    assert (step, text.split(".")[0]) == (7, "“gradient_norm” was not a number at step 7")
    assert not offline.metrics.exists()


def test_a_step_of_the_policy_that_was_not_a_number_is_told(online: Run) -> None:
    with Recorder(online) as recorder:
        recorder.on_step(4, {"not_finite_steps": 1.0, "kl": 1.0})
    assert list(alerts_of(online)) == ["not_a_number"]


def test_a_training_that_broke_off_for_it_says_so_too(bot: Bot, dataset: Dataset, engine: FakeEngine) -> None:
    run = runs.start_finetune(bot, dataset)
    engine.fault = TrainingDiverged("The loss stopped being a number at step 3.")
    advance_run(run.pk, engine)
    assert alerts_of(run) == {"not_a_number": (None, "The loss stopped being a number at step 3.")}
    assert lines_of(run)[-2] == "Failed: The loss stopped being a number at step 3."


def test_a_loss_that_rises_far_above_its_lowest_has_diverged(offline: Run) -> None:
    losses = ordinary(200) + [2.2 + at / 20 for at in range(120)]
    slices(offline, losses, size=37)
    step, text = alerts_of(offline)["divergence"]
    assert step is not None
    assert 210 < step < 260
    assert text.startswith("The training loss is ")


def test_divergence_is_seen_over_slices_shorter_than_its_window(offline: Run) -> None:
    slices(offline, [2.0] * 40 + [4.0] * 20, size=5)
    assert list(alerts_of(offline)) == ["divergence"]


def test_a_policy_far_from_its_start_has_diverged(online: Run) -> None:
    with Recorder(online) as recorder:
        recorder.on_step(9, {"kl": 20.5})
    assert alerts_of(online)["divergence"][0] == 9


def test_a_held_out_loss_that_rises_while_the_training_loss_falls_is_overfitting(offline: Run) -> None:
    slices(offline, [4 - at / 100 for at in range(300)])
    with Recorder(offline) as recorder:
        for step, loss in ((50, 3.0), (100, 2.5), (150, 2.6), (200, 2.7)):
            recorder.on_step(step, {"heldout_loss": loss})
    assert alerts_of(offline) == {}
    with Recorder(offline) as recorder:
        recorder.on_step(250, {"heldout_loss": 2.8})
    assert alerts_of(offline)["overfitting"][0] == 250


def test_a_held_out_loss_that_rises_with_the_training_loss_is_none(offline: Run) -> None:
    slices(offline, [2 + at / 600 for at in range(300)])
    with Recorder(offline) as recorder:
        for at, loss in enumerate((3.0, 2.5, 2.6, 2.7, 2.9)):
            recorder.on_step(at * 60, {"heldout_loss": loss})
    assert alerts_of(offline) == {}


def test_the_watchdogs_alarm_is_reward_hacking(online: Run) -> None:
    alerts.of_round(online, 5, {"watchdog": [WARNING, ALARM]})
    assert alerts_of(online) == {"reward_hacking": (5, ALARM["sentence"])}


def test_an_alert_is_raised_once_and_its_people_are_told(offline: Run, told: list[dict[str, Any]], bot: Bot) -> None:
    assert alerts.raise_alert(offline, "divergence", "It rises.", 3)
    assert not alerts.raise_alert(offline, "divergence", "It rises again.", 4)
    assert alerts_of(offline) == {"divergence": (3, "It rises.")}
    assert [(event["kind"], event["level"], event["text"]) for event in told if event["type"] == "run_event"] == [
        ("divergence", "alert", "It rises.")
    ]
    rows = set(Notification.objects.values_list("kind", "title", "path", "text"))
    path = f"/o/acme/bots/{bot.pk}/runs/{offline.pk}/#log"
    assert rows == {("run.alert", "Divergence: Fine-tuning of Writer", path, "It rises.")}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    monkeypatch.setattr("bots.live.tell", lambda bot_id, message: events.append(message))
    return events


# The log


def test_the_life_of_a_fine_tuning_is_written_down(
    bot: Bot, dataset: Dataset, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "LOOK_EVERY", 0.0)
    run = runs.start_finetune(bot, dataset)
    engine.before_step = lambda step: runs.pause_run(run.pk) if step == 2 else None  # type: ignore[func-returns-value]
    advance_run(run.pk, engine)
    runs.resume_run(run.pk)
    advance_run(run.pk, engine)
    assert lines_of(run) == [
        "Queued by kilroy.",
        "Started.",
        "Asked to pause by kilroy.",
        "Paused.",
        "Asked to go on by kilroy.",
        "Going on.",
        "Finished: All steps are done.",
    ]


def test_failures_broken_slices_and_changed_settings_are_written_down(
    bot: Bot, dataset: Dataset, engine: FakeEngine, run: Run
) -> None:
    reconfiguration.reconfigure(run.pk, {"queue_ahead": 5})
    advance_run(run.pk, engine)
    engine.fault = ZeroDivisionError("a fault of ours")
    for _ in range(3):
        bot.posts.all().delete()  # so that a round is due
        advance_run(run.pk, engine)
    lines = lines_of(run)
    assert lines[:2] == ["Queued by kilroy.", "Settings changed by kilroy: queue_ahead 8 → 5."]
    assert "Round 0. Decided in round 0." in lines
    levels = dict(RunEvent.objects.filter(run=run).values_list("text", "level"))
    assert levels["It broke off and is tried again: ZeroDivisionError: a fault of ours"] == "warning"
    assert levels["Failed: It broke off 3 times in a row: ZeroDivisionError: a fault of ours"] == "warning"
