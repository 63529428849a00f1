"""The schema comes about in two ways: at once in a new database, step by step in one that was there before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps

from accounts import row_security

pytestmark = pytest.mark.django_db(transaction=True)

SCHEMA = {
    "columns": """
        SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default, is_identity
        FROM information_schema.columns WHERE table_schema = 'public'
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "policies": "SELECT tablename, policyname, cmd, roles::text, qual, with_check FROM pg_policies",
    "secured": "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity",
    "triggers": "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "functions": r"""
        SELECT proname, regexp_replace(prosrc, '\s+', ' ', 'g') FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    """,
}


@contextmanager
def another_database() -> Iterator[None]:
    """Within the block everything works with an empty database, as its owner."""
    usual = connection.settings_dict["NAME"]
    name = f"{usual}_steps"
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    connection.settings_dict["NAME"] = name
    try:
        with row_security.as_owner():
            yield
    finally:
        connection.settings_dict["NAME"] = usual
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}"')


def go_step_by_step(*targets: tuple[str, str]) -> StateApps:
    """To these migrations, or to the newest of all, through those that were put together into one since."""
    executor = MigrationExecutor(connection)
    at_once = set(executor.loader.replacements)
    executor.loader.replace_migrations = False  # type: ignore[attr-defined]
    executor.loader.build_graph()
    state = executor.migrate(
        list(targets) or [leaf for leaf in executor.loader.graph.leaf_nodes() if leaf not in at_once]
    )
    return state.apps


def rows(sql: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return sorted(cursor.fetchall(), key=repr)


def schema() -> dict[str, list[tuple[object, ...]]]:
    return {name: rows(sql) for name, sql in SCHEMA.items()}


def test_both_ways_lead_to_one_schema_and_rows_come_along() -> None:
    with row_security.as_owner():
        expected = schema()
    with another_database():
        organization, run, dataset = add_a_run_with_its_one_dataset(
            go_step_by_step(("training", "0003_learning_engine"))
        )
        go_step_by_step()
        sources = rows("SELECT organization_id, run_id, dataset_id, weight FROM training_rundataset")
        found, executor = schema(), MigrationExecutor(connection)
        left = executor.migration_plan(executor.loader.graph.leaf_nodes())

    assert sources == [(organization, run, dataset, 1)]
    for name, wanted in expected.items():
        assert found[name] == wanted
    assert left == []


def add_a_run_with_its_one_dataset(apps: StateApps) -> tuple[object, object, object]:
    """As runs were before they had sources."""
    organization = apps.get_model("accounts", "Organization").objects.create(name="Acme", slug="acme")
    own = {"organization": organization}
    connected = apps.get_model("faces", "Connection").objects.create(kind="sandbox", name="Sandbox", **own)
    bot = apps.get_model("bots", "Bot").objects.create(name="Bot", connection=connected, **own)
    dataset = apps.get_model("training", "Dataset").objects.create(bot=bot, state="ready", **own)
    run = apps.get_model("training", "Run").objects.create(
        bot=bot, dataset=dataset, kind="offline", state="finished", **own
    )
    return organization.pk, run.pk, dataset.pk
