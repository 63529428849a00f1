"""No model learns from an account without the permission, also when that ends while a run goes on."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from accounts.models import AuditEntry
from bots.models import Bot
from faces.services import allow_learning, forbid_learning
from tests.training.fake_engine import FakeEngine
from training.models import ModelVersion, Round, Run
from training.services import runs
from training.services.worker import advance_run


def refusals() -> int:
    return AuditEntry.objects.filter(action="run.refused", after={"reason": "may_learn is off"}).count()


def test_online_learning_does_not_begin(bot: Bot, start: ModelVersion) -> None:
    bot.connection = forbid_learning(bot.connection_id)
    with pytest.raises(ValidationError, match="may_learn"):
        runs.start_online(bot, start)
    assert (refusals(), Run.objects.filter(kind="online").exists()) == (1, False)
    bot.connection = allow_learning(bot.connection_id)
    assert runs.start_online(bot, start).state == "queued"


def test_a_run_ends_when_the_permission_does(run: Run, engine: FakeEngine) -> None:
    forbid_learning(run.bot.connection_id)
    advance_run(run.pk, engine)
    run.refresh_from_db()
    assert (run.state, "may_learn" in run.error) == ("failed", True)
    assert (refusals(), Round.objects.exists()) == (1, False)
