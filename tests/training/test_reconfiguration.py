"""Changing a living run's settings: what is refused, when a change counts, and where it is written down."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts import audit
from accounts.models import AuditEntry
from bots.models import Bot
from tests.factories import World, make_bot, make_connection, make_run, make_version
from tests.training.fake_engine import FakeEngine
from tests.training.test_rounds import publish, upcoming
from training.models import ModelVersion, Round, Run
from training.services import runs
from training.services.reconfiguration import changes_of, reconfigure
from training.services.worker import advance_run


def test_a_change_counts_from_the_next_round_and_is_told_there(run: Run, engine: FakeEngine) -> None:
    def change(number: int) -> None:
        with audit.acting(audit.Actor("alice@kilroy.example")):
            reconfigure(run.pk, {"learning_rate": 1e-4, "queue_ahead": 6, "kl_target": 4.0})

    engine.before_answer = change
    advance_run(run.pk, engine)
    engine.before_answer = lambda number: None
    first = Round.objects.get(number=0)
    assert (engine.rounds[0].config.learning_rate, first.config["learning_rate"]) == (7e-5, 7e-5)
    assert first.decisions == ["Decided in round 0."]
    publish(upcoming(run.bot))
    advance_run(run.pk, engine)
    second = Round.objects.get(number=1)
    assert (engine.rounds[1].config.learning_rate, second.config["queue_ahead"]) == (1e-4, 6)
    assert second.decisions[0] == (
        "Settings changed: learning_rate 7e-5 → 0.0001 by alice@kilroy.example, "
        "queue_ahead 8 → 6 by alice@kilroy.example."
    )
    publish(upcoming(run.bot))
    advance_run(run.pk, engine)
    assert Round.objects.get(number=2).decisions == ["Decided in round 2."]


def test_a_change_leaves_a_line_with_what_was_before(run: Run) -> None:
    reconfigure(run.pk, {"learning_rate": 1e-4, "kl_target": 4.0})
    entry = AuditEntry.objects.get(action="run.reconfigure")
    assert (entry.before, entry.after) == ({"learning_rate": 7e-5}, {"learning_rate": 1e-4})
    reconfigure(run.pk, {"learning_rate": 1e-4})
    assert AuditEntry.objects.filter(action="run.reconfigure").count() == 1
    assert [str(change) for change in changes_of(run)] == ["learning_rate 7e-5 → 0.0001 by kilroy"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rat": 0.1}, "Did you mean “learning_rate”?"),
        ({"queue_ahead": 0}, "must lie between 1 and 1000"),
        ({"algorithm": "magic"}, "There is no algorithm “magic”"),
        ({"temperature": 0.5}, "“temperature” is fixed from the first round on"),
        ({"min_length": 200, "max_length": 100}, "must not be larger"),
        ({"min_length": 500}, "must not be larger"),
        ({"min_length": 300, "max_length": 500}, "which is 280 at most on this bot's platform"),
        ([1], "object of names and values"),
    ],
)
def test_what_cannot_be_changed_is_refused_and_nothing_is(run: Run, changes: Any, words: str) -> None:
    before = dict(run.config)
    with pytest.raises(ValidationError) as error:
        reconfigure(run.pk, changes)
    assert words in " ".join(error.value.messages)
    run.refresh_from_db()
    assert run.config == before
    assert not AuditEntry.objects.filter(action="run.reconfigure").exists()


def test_a_fixed_setting_may_be_sent_as_it_is(run: Run) -> None:
    assert reconfigure(run.pk, {"temperature": 1.0, "queue_ahead": 5}).config["queue_ahead"] == 5


def test_a_change_is_held_against_the_runs_own_settings(acme: World) -> None:
    mastodon = make_bot(make_connection("mastodon", may_learn=True))
    run = runs.start_online(mastodon, make_version(mastodon), {"max_length": 500})
    assert reconfigure(run.pk, {"min_length": 300}).config["min_length"] == 300
    with pytest.raises(ValidationError, match="must not be larger"):
        reconfigure(run.pk, {"max_length": 290})


def test_posts_do_not_become_longer_than_the_platform_takes(run: Run) -> None:
    assert reconfigure(run.pk, {"max_length": 5000}).config["max_length"] == 280


def test_a_fine_tuning_keeps_its_settings(bot: Bot) -> None:
    with pytest.raises(ValidationError, match="keeps its settings from the first step to the last"):
        reconfigure(make_run(bot, state="running").pk, {"learning_rate": 1e-4})


def test_a_run_that_is_over_keeps_its_settings(bot: Bot) -> None:
    over = make_run(bot, "online", start_version=make_version(bot), state="stopped")
    with pytest.raises(ValidationError, match=r"This run is over \(stopped\)"):
        reconfigure(over.pk, {"queue_ahead": 4})


def test_a_paused_run_may_be_changed(run: Run, start: ModelVersion) -> None:
    runs.pause_run(run.pk)
    assert reconfigure(run.pk, {"queue_ahead": 4}).config["queue_ahead"] == 4
