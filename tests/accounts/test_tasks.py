"""Every Celery task, generated from those that are registered: what it is rung for belongs to one organization."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.conf import settings as site
from django.core.cache import cache
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

import training
from accounts import vault
from accounts.models import Export, Notification, WebhookDelivery
from accounts.tenancy import TenantModel, tenant
from bots.models import Incoming, ReplyRules
from faces.models import Connection
from kilroy_site.celery import app
from tests.everything import Everything, make_everything
from tests.factories import World, make_world
from tests.training.fake_engine import FakeEngine
from training.models import Generation, Harvest, Run

pytestmark = pytest.mark.django_db(transaction=True)
app.loader.import_default_modules()
OURS = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
PARAMETERS = {name: list(inspect.signature(task.run).parameters) for name, task in OURS.items()}
NEXT_IN_LINE = {
    "training.tasks.gpu_advance_run",
    "training.tasks.gpu_answer_generation",
    "training.tasks.gpu_answer_incoming",
    "training.tasks.import_dataset",
}
"""These do the work whose turn it is, in its own organization, whatever they were rung for."""
OF_THE_WHOLE = {"accounts.tasks.send_notifications"}
"""These are rung for an organization, and nothing in it: there is no id that could be another's."""
ROWS: dict[str, Callable[[Everything], Any]] = {
    "connection_id": lambda made: made.connection.pk,
    "dataset_id": lambda made: made.dataset.pk,
    "export_id": lambda made: Export.objects.get(state=Export.State.QUEUED).pk,
    "generation_id": lambda made: Generation.objects.latest("created_at").pk,
    "harvest_id": lambda made: made.harvest.pk,
    "incoming_id": lambda made: Incoming.objects.get(remote_id="mention-2").pk,
    "post_ids": lambda made: made.posts["queued"].pk,
    "rules_id": lambda made: ReplyRules.objects.get().pk,
    "run_id": lambda made: made.online_run.pk,
    "user_id": lambda made: made.notification.user_id,
    "webhook_id": lambda made: made.webhook.pk,
}
"""What a task is rung for: whoever adds a task with another parameter adds a row for it here."""


@pytest.fixture
def world(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    settings.VAR = settings.MEDIA_ROOT = tmp_path
    settings.OUTBOUND_ALLOW = frozenset({("127.0.0.1", 9)})
    bridge = ModuleType("training.gpu")
    bridge.engine = FakeEngine(tmp_path)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "training.gpu", bridge)
    monkeypatch.setattr(training, "gpu", bridge, raising=False)
    return make_world()


@pytest.fixture
def ready(world: World) -> tuple[Everything, dict[str, Any]]:
    """Of everything one row in each organization, all of it due; and Acme's ids, by the name of a parameter."""
    for organization in (world.globex, world.acme):
        with tenant(organization.pk):
            made = make_everything()
            Export.objects.create(state=Export.State.QUEUED)
            made.webhook.url = "http://127.0.0.1:9/"
            made.webhook.secrets = vault.seal(made.webhook, "secrets", {"current": "whsec_" + "A" * 44})
            made.webhook.save()
            WebhookDelivery.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=1))
            ReplyRules.objects.update(active=True)
            Harvest.objects.update(active=True, next_at=timezone.now() - timedelta(minutes=1))
            Connection.objects.update(may_learn=True)
            Notification.objects.update(
                email_due=True, kind="run.finished", created_at=timezone.now() - timedelta(days=2)
            )
            ids = {name: row(made) for name, row in ROWS.items()}
    return made, ids


def _rows(organization_id: UUID) -> dict[str, Any]:
    """A fingerprint of each table, as row-level security shows it to this organization."""
    found = {}
    with tenant(organization_id), connection.cursor() as cursor:
        for model in apps.get_models():
            if issubclass(model, TenantModel):
                table = model._meta.db_table
                cursor.execute(f'SELECT md5(string_agg(row::text, chr(10) ORDER BY row::text)) FROM "{table}" row')
                found[table] = cursor.fetchone()[0]
    return found


def _ring(name: str, organization_id: UUID, ids: dict[str, Any]) -> None:
    """Let a task run, as a worker does; finding nothing is no failure."""
    _, parameter = PARAMETERS[name]
    result = OURS[name].apply((str(organization_id), str(ids[parameter])), throw=False)
    assert result.state == "SUCCESS" or isinstance(result.result, ObjectDoesNotExist), (name, result.traceback)


def test_every_task_is_a_bell_with_ids_or_a_tick_of_the_clock() -> None:
    bells = {name: given for name, given in PARAMETERS.items() if given and name not in OF_THE_WHOLE}
    assert {name: given for name, given in bells.items() if given[0] != "organization_id" or len(given) != 2} == {}
    assert {given[1] for given in bells.values()} == set(ROWS)
    assert {name: PARAMETERS[name] for name in OF_THE_WHOLE} == {name: ["organization_id"] for name in OF_THE_WHOLE}
    ticks = {name for name, given in PARAMETERS.items() if not given}
    assert ticks == {entry["task"] for entry in site.CELERY_BEAT_SCHEDULE.values()}
    assert set(bells) > NEXT_IN_LINE
    assert (len(bells), len(ticks)) > (9, 10)


def test_a_bell_with_the_id_of_another_organization_touches_nothing(
    world: World, ready: tuple[Everything, dict[str, Any]]
) -> None:
    _, ids = ready
    before = {each.pk: _rows(each.pk) for each in (world.acme, world.globex)}
    found = {}
    for name in sorted(set(PARAMETERS) - NEXT_IN_LINE - OF_THE_WHOLE):
        if PARAMETERS[name]:
            _ring(name, world.globex.pk, ids)
            found[name] = {each.slug for each in (world.acme, world.globex) if _rows(each.pk) != before[each.pk]}
    assert {name: touched for name, touched in found.items() if touched} == {}

    cache.clear()  # who was asked a moment ago
    for name in found:  # rung for their own organization they do something, and nothing to the other one
        _ring(name, world.acme.pk, ids)
        now = _rows(world.acme.pk)
        found[name] = {table for table, print in now.items() if print != before[world.acme.pk][table]}
        before[world.acme.pk] = now
    assert {name for name, touched in found.items() if not touched} == set()
    assert _rows(world.globex.pk) == before[world.globex.pk]


@pytest.mark.parametrize("name", sorted(NEXT_IN_LINE))
def test_whose_turn_it_is_decides_what_is_done_and_where(
    world: World, ready: tuple[Everything, dict[str, Any]], name: str
) -> None:
    """Rung in the name of Globex, where nothing waits, with an id of Acme: whatever is done is done to Acme."""
    _, ids = ready
    with tenant(world.globex.pk):
        Run.objects.update(state=Run.State.STOPPED)
        Incoming.objects.update(state=Incoming.State.SKIPPED, answer=None)
        Generation.objects.update(state=Generation.State.DONE)
    before = _rows(world.globex.pk)
    _ring(name, world.globex.pk, ids)
    assert _rows(world.globex.pk) == before
