"""Steps of the schema over rows that are there already, forwards and back."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from accounts import row_security
from accounts.tenancy import tenant
from tests.factories import World, make_bot, make_dataset, make_run, make_world

pytestmark = pytest.mark.django_db(transaction=True)


def migrate(*targets: tuple[str, str]) -> None:
    """Go to these migrations, or to the newest of all."""
    with row_security.as_owner():
        executor = MigrationExecutor(connection)
        executor.migrate(list(targets) or executor.loader.graph.leaf_nodes())
        row_security.prepare(connection)


def rows(sql: str) -> list[tuple[object, ...]]:
    with row_security.as_owner(), connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@pytest.fixture
def committed() -> World:
    return make_world()


def test_a_runs_one_dataset_becomes_its_source_and_back(committed: World) -> None:
    expected = {}
    for organization in (committed.acme, committed.globex):
        with tenant(organization.pk):
            bot = make_bot()
            dataset = make_dataset(bot)
            expected[make_run(bot, dataset=dataset, state="finished").pk] = (organization.pk, dataset.pk)
    try:
        migrate(("training", "0003_learning_engine"))
        before = {
            run: (org, data) for run, org, data in rows("SELECT id, organization_id, dataset_id FROM training_run")
        }
        with row_security.as_owner(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM training_rundataset")
    finally:
        migrate()
    after = {
        run: (org, data)
        for run, org, data in rows("SELECT run_id, organization_id, dataset_id FROM training_rundataset")
    }
    assert (before, after) == (expected, expected)
