"""What holds for every tenant-owned model and every way out of tenancy, generated from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, connection, models, transaction

from accounts.models import Membership
from accounts.tenancy import NoTenant, TenantManager, TenantModel, tenant
from accounts.tokens import create_token
from faces.contract import OutgoingPost
from tests.everything import make_everything
from tests.factories import World, make_bot, make_run, make_world

ROOMS = ("accounts", "bots", "faces", "kilroy_site", "training")
TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]
FREE_MODELS = {"User", "Organization", "Site", "SiteRule"}


def _foreign_keys() -> list[models.ForeignKey]:  # type: ignore[type-arg]
    return [
        field
        for model in TENANT_MODELS
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.ForeignKey) and issubclass(field.related_model, TenantModel)
    ]


def _name(field: models.Field) -> str:  # type: ignore[type-arg]
    return f"{field.model._meta.db_table}.{field.column}"


def test_every_model_of_the_rooms_is_tenant_owned() -> None:
    own = {model.__name__ for model in apps.get_models() if model._meta.app_label in ROOMS}
    assert own - {model.__name__ for model in TENANT_MODELS} == FREE_MODELS


@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model.__name__)
def test_what_django_uses_by_itself_is_confined(model: type[TenantModel], db: None) -> None:
    assert isinstance(model._base_manager, TenantManager)
    assert isinstance(model._default_manager, TenantManager)
    with pytest.raises(NoTenant):
        model._base_manager.first()
    with pytest.raises(NoTenant):
        model._default_manager.exists()


def test_no_relation_between_tenant_models_escapes_as_many_to_many() -> None:
    assert [str(field) for model in TENANT_MODELS for field in model._meta.local_many_to_many] == []


@pytest.mark.parametrize("field", _foreign_keys(), ids=_name)
def test_every_foreign_key_between_tenant_models_holds_the_organization(
    field: models.ForeignKey,  # type: ignore[type-arg]
    db: None,
) -> None:
    """(organization_id, column) → (organization_id, id) is a foreign key of the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT array_agg(source.attname::text ORDER BY part.number),
                   array_agg(target.attname::text ORDER BY part.number)
            FROM pg_constraint,
                 unnest(conkey, confkey) WITH ORDINALITY AS part (source, target, number),
                 pg_attribute source, pg_attribute target
            WHERE contype = 'f' AND convalidated
              AND conrelid = %s::regclass AND confrelid = %s::regclass
              AND source.attrelid = conrelid AND source.attnum = part.source
              AND target.attrelid = confrelid AND target.attnum = part.target
            GROUP BY pg_constraint.oid
            """,
            [field.model._meta.db_table, field.related_model._meta.db_table],
        )
        found = cursor.fetchall()
    assert (["organization_id", field.column], ["organization_id", "id"]) in found


def test_every_foreign_key_refuses_another_organizations_row(db: None) -> None:
    """The refusal itself: rows made to point into another organization, behind the application's back."""
    world = make_world()
    for organization, person in ((world.acme, world.alice), (world.globex, world.charlie)):
        with tenant(organization.pk):
            create_token(Membership.objects.get(user=person), "A token")
            made = make_everything()
            made.connection.face.publish(OutgoingPost("A post"), "key")
            make_run(make_bot())
            make_bot()  # rows that no other one points to, for what may be pointed to once only
    outcomes = {_name(field): _pointing(field, world) for field in _foreign_keys()}
    assert outcomes == dict.fromkeys(outcomes, ("taken", "refused"))


def _pointing(field: models.ForeignKey, world: World) -> tuple[str, str]:  # type: ignore[type-arg]
    """What the database says when a row of Acme is pointed to rows of Acme, and to rows of Globex."""
    with tenant(world.acme.pk):
        row = field.model.objects.latest("pk")
        mine = list(field.related_model.objects.all())
    with tenant(world.globex.pk):
        theirs = list(field.related_model.objects.all())
    with tenant(world.acme.pk):
        return _said(field, row.pk, mine), _said(field, row.pk, theirs)


def _said(field: models.ForeignKey, row: object, targets: list[TenantModel]) -> str:  # type: ignore[type-arg]
    table, column = field.model._meta.db_table, field.column
    constraint, said = f"{table}_{column}_same_organization", ""
    for target in targets:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f'UPDATE "{table}" SET "{column}" = %s WHERE id = %s', [target.pk, row])
                cursor.execute(f'SET CONSTRAINTS "{constraint}" IMMEDIATE')
                transaction.set_rollback(True)
        except DatabaseError as error:
            said = "refused" if constraint in str(error) else str(error)
        else:
            said = "taken"
        if "duplicate key" not in said:
            break
    return said


def _uses_of_everyone() -> Iterator[tuple[str, str]]:
    """Each statement of the code that uses `.everyone`, with the line above it."""
    for room in ROOMS:
        for path in sorted(Path(settings.BASE_DIR, room).rglob("*.py")):
            lines = path.read_text().splitlines()
            tree = ast.parse("\n".join(lines))
            statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and node.attr == "everyone":
                    around = [s for s in statements if s.lineno <= node.lineno <= (s.end_lineno or s.lineno)]
                    first = max(s.lineno for s in around)
                    yield f"{path.relative_to(settings.BASE_DIR)}:{first}", lines[first - 2].strip()


def test_every_way_out_of_tenancy_says_why() -> None:
    uses = list(_uses_of_everyone())
    assert [where for where, above in uses if not above.startswith("# everyone: ")] == []
    assert len({where.split(":")[0] for where, _ in uses}) > 3  # the search finds what it is for
