"""An upgrade works while the version before it still runs: migrations expand, and a later release contracts.

Django's own migrations and those up to BASELINE are left alone: what they met is past.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

import pytest
from django.contrib.postgres import operations as postgres
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

BASELINE = {"accounts": "0006", "faces": "0007", "bots": "0012", "training": "0009"}
CONTRACTED: Mapping[tuple[str, str], str] = {}
"""(app, migration) that takes something away → since which release nothing reads it."""
CONTRACTS = (
    *(migrations.RemoveField, migrations.RenameField, migrations.DeleteModel, migrations.RenameModel),
    migrations.AlterModelTable,
)


def objections(app: str, migration: migrations.Migration, before: ProjectState) -> Iterator[str]:
    """What about a migration breaks the running version, or keeps it waiting. `before` is changed to the state after
    it."""
    made = {operation.name_lower for operation in migration.operations if isinstance(operation, migrations.CreateModel)}
    for operation in _flat(migration.operations):
        if getattr(operation, "model_name_lower", "") not in made:
            yield from _objections(app, operation, before, (app, migration.name) in CONTRACTED)
        if not operation.reversible:
            yield f"{operation.describe()}: there is no way back; give reverse_code or reverse_sql"
        operation.state_forwards(app, before)


def _flat(operations: list[Operation]) -> Iterator[Operation]:
    for operation in operations:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            yield from _flat(operation.database_operations)
        else:
            yield operation


def _objections(app: str, operation: Operation, before: ProjectState, may_contract: bool) -> Iterator[str]:
    what = operation.describe()
    if isinstance(operation, CONTRACTS) and not may_contract:
        yield f"{what}: the running version still uses it; say in CONTRACTED since when nothing does"
    if isinstance(operation, migrations.AddField) and _breaks_inserts(operation.field):
        yield f"{what}: the running version leaves it out; give it a db_default or null=True"
    if isinstance(operation, migrations.AlterField) and _forbids_null(app, operation, before):
        yield f"{what}: the running version may still write NULL; fill it now, and forbid it in the next release"
    if type(operation) in (migrations.AddIndex, migrations.RemoveIndex):
        yield f"{what}: the table is locked meanwhile; use {type(operation).__name__}Concurrently"
    if type(operation) is migrations.AddConstraint:
        yield f"{what}: the table is locked while it is read; use AddConstraintNotValid, then ValidateConstraint"


def _forbids_null(app: str, operation: migrations.AlterField, before: ProjectState) -> bool:
    return before.models[app, operation.model_name_lower].fields[operation.name].null and not operation.field.null


def _breaks_inserts(field: models.Field) -> bool:
    """Django takes a Python default away again once the column is there: whoever does not know it writes no value."""
    return not (field.null or field.many_to_many) and field.db_default is models.NOT_PROVIDED


def test_no_upgrade_breaks_the_version_that_runs() -> None:
    loader = MigrationLoader(None)
    found = {}
    for app, name in sorted(loader.disk_migrations):
        if name[:4] > BASELINE.get(app, "9999"):
            state = loader.project_state((app, name), at_end=False)
            found[app, name] = list(objections(app, loader.disk_migrations[app, name], state))
    assert {where: said for where, said in found.items() if said} == {}


def test_there_is_a_way_back_from_every_migration_of_ours() -> None:
    loader = MigrationLoader(None)
    ours = {where: migration for where, migration in loader.disk_migrations.items() if where[0] in BASELINE}
    assert len(ours) > 20
    assert [
        (where, operation.describe())
        for where, migration in ours.items()
        for operation in _flat(migration.operations)
        if not operation.reversible
    ] == []


def test_the_baseline_is_of_this_repository() -> None:
    on_disk = {(app, name[:4]) for app, name in MigrationLoader(None).disk_migrations}
    assert set(BASELINE.items()) <= on_disk
    assert all(import_module(f"{app}.models") for app in BASELINE)


COUNT = models.IntegerField()
INDEX = models.Index(fields=["name"], name="by_name")
POSITIVE = models.CheckConstraint(condition=models.Q(pk__gt=0), name="positive")

GOOD = [
    migrations.AddField("bot", "count", models.IntegerField(null=True)),
    migrations.AddField("bot", "count", models.IntegerField(db_default=0)),
    migrations.CreateModel("thing", [("id", models.BigAutoField(primary_key=True)), ("count", COUNT)]),
    postgres.AddIndexConcurrently("bot", INDEX),
    AddConstraintNotValid("bot", POSITIVE),
    migrations.RunSQL("SELECT 1", "SELECT 2"),
]
BAD = [
    (migrations.RemoveField("bot", "name"), "CONTRACTED"),
    (migrations.RenameField("bot", "name", "title"), "CONTRACTED"),
    (migrations.DeleteModel("bot"), "CONTRACTED"),
    (migrations.RenameModel("bot", "robot"), "CONTRACTED"),
    (migrations.AddField("bot", "count", COUNT), "db_default"),
    (migrations.AddField("bot", "count", models.IntegerField(default=0)), "db_default"),
    (migrations.AlterField("bot", "nick", models.TextField()), "next release"),
    (migrations.AddIndex("bot", INDEX), "AddIndexConcurrently"),
    (migrations.AddConstraint("bot", POSITIVE), "AddConstraintNotValid"),
    (migrations.RunSQL("DELETE FROM bots_bot"), "no way back"),
    (migrations.RunPython(lambda apps, editor: None), "no way back"),
    (migrations.SeparateDatabaseAndState([migrations.RunSQL("DELETE FROM bots_bot")]), "no way back"),
]


def _look_at(*operations: Operation) -> list[str]:
    state = ProjectState()
    fields = [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())]
    migrations.CreateModel("bot", [*fields, ("nick", models.TextField(null=True))]).state_forwards("bots", state)
    migration = migrations.Migration("9999_planted", "bots")
    migration.operations = list(operations)
    return list(objections("bots", migration, state))


@pytest.mark.parametrize("operation", GOOD)
def test_what_expands_is_fine(operation: Operation) -> None:
    assert _look_at(operation) == []


@pytest.mark.parametrize(("operation", "words"), BAD)
def test_what_contracts_or_locks_is_not(operation: Operation, words: str) -> None:
    assert [words in said for said in _look_at(operation)] == [True]


def test_a_table_that_is_new_may_have_everything() -> None:
    made = migrations.CreateModel("thing", [("id", models.BigAutoField(primary_key=True))])
    assert _look_at(made, migrations.AddIndex("thing", INDEX), migrations.AddField("thing", "name", COUNT)) == []
