"""The second layer: with tenancy's Python switched off on purpose, PostgreSQL alone shows no foreign row."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, models, transaction

from accounts import row_security
from accounts.models import Membership, Organization
from accounts.tenancy import TenantManager, TenantModel, tenant
from accounts.tokens import create_token
from bots.models import Bot
from faces.contract import OutgoingPost
from tests.everything import make_everything
from tests.factories import World, make_bot

TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]


@pytest.fixture
def full(world: World) -> World:
    """Rows of every kind in both organizations."""
    for organization, person in ((world.acme, world.alice), (world.globex, world.charlie)):
        with tenant(organization.pk):
            create_token(Membership.objects.get(user=person), "A token")
            made = make_everything()
            made.connection.face.publish(OutgoingPost("A post"), "key")
    return world


@pytest.fixture
def python_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Managers that filter nothing, as a mistake would leave them."""
    monkeypatch.setattr(TenantManager, "get_queryset", lambda self: models.QuerySet(self.model, using=self._db))


def _ask(sql: str, *params: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()


def test_every_table_of_tenants_has_a_policy_that_binds_its_owner_too(db: None) -> None:
    bound = {}
    for model in TENANT_MODELS:
        bound[model._meta.db_table] = _ask(
            "SELECT relrowsecurity, relforcerowsecurity, (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) "
            "FROM pg_class c WHERE oid = %s::regclass",
            model._meta.db_table,
        )
    assert bound == dict.fromkeys(bound, (True, True, 1))


def test_the_role_that_works_can_walk_around_no_policy(db: None) -> None:
    assert _ask("SELECT current_user, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user") == (
        row_security.ROLE,
        False,
        False,
    )
    owned = _ask(
        "SELECT count(*) FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)"
    )
    assert owned == (0,)


def test_without_the_python_layer_no_foreign_row_is_seen(full: World, python_off: None) -> None:
    foreign, missing = set(), []
    with tenant(full.acme.pk):
        for model in TENANT_MODELS:
            owners = set(model.objects.values_list("organization_id", flat=True))
            if not owners:
                missing.append(model.__name__)
            foreign |= {(model.__name__, owner) for owner in owners - {full.acme.pk}}
    assert foreign == set()
    assert len(missing) < len(TENANT_MODELS) / 4, missing  # rows were there to be seen


def test_without_the_python_layer_and_without_a_tenant_nothing_is_seen(full: World, python_off: None) -> None:
    counts = {model.__name__: model.objects.count() for model in TENANT_MODELS}
    assert counts == dict.fromkeys(counts, 0)


def test_without_the_python_layer_no_foreign_row_is_changed_or_deleted(full: World, python_off: None) -> None:
    with tenant(full.globex.pk):
        theirs = Bot.objects.get()
    with tenant(full.acme.pk):
        assert Bot.objects.filter(pk=theirs.pk).update(name="stolen") == 0
        assert Bot.objects.filter(pk=theirs.pk)._raw_delete("default") == 0
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            Bot.objects.filter(name="Headline writer").update(organization=full.globex)
    with tenant(full.globex.pk):
        assert Bot.objects.get().name == "Headline writer"


def test_a_row_for_another_organization_cannot_be_made(full: World) -> None:
    with tenant(full.acme.pk), pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
        _ask(
            "INSERT INTO accounts_membership (organization_id, user_id, role, created_at) "
            "VALUES (%s, %s, 'owner', now()) RETURNING id",
            full.globex.pk,
            full.alice.pk,
        )


def test_relations_from_what_is_nobodys_are_confined_too(full: World) -> None:
    """The Python layer guards querysets of tenant models; this one begins at the organization."""
    with tenant(full.acme.pk):
        assert set(Organization.objects.filter(memberships__isnull=False).distinct()) == {full.acme}
    assert not Organization.objects.filter(memberships__isnull=False).exists()


def test_a_statement_that_says_so_goes_across(full: World) -> None:
    # everyone: this is what is tested.
    assert set(Bot.everyone.values_list("organization_id", flat=True)) == {full.acme.pk, full.globex.pk}
    with tenant(full.acme.pk):
        # everyone: this is what is tested.
        assert Bot.everyone.count() == 2
        assert Bot.objects.count() == 1


def test_tenants_change_within_a_transaction(full: World) -> None:
    with transaction.atomic():
        for organization in (full.acme, full.globex, full.acme):
            with tenant(organization.pk):
                assert _ask("SELECT array_agg(DISTINCT organization_id) FROM bots_bot") == ([organization.pk],)
                with pytest.raises(DatabaseError), transaction.atomic(), tenant(full.globex.pk):
                    _ask("SELECT 1 / 0")
                assert _ask("SELECT array_agg(DISTINCT organization_id) FROM bots_bot") == ([organization.pk],)
        assert _ask("SELECT count(*) FROM bots_bot") == (0,)


@pytest.mark.django_db(transaction=True)
def test_nothing_stays_on_the_connection(world: World) -> None:
    with tenant(world.acme.pk):
        make_bot()
        assert _ask("SELECT current_setting('app.organization', true)") == (str(world.acme.pk),)
    assert _ask("SELECT coalesce(current_setting('app.organization', true), '')") == ("",)
    assert _ask("SELECT count(*) FROM bots_bot") == (0,)


def test_many_rows_at_once_carry_their_organization(full: World) -> None:
    with tenant(full.acme.pk), transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany("UPDATE bots_bot SET description = %s", [("one",), ("two",)])
        assert cursor.rowcount == 2
    with tenant(full.globex.pk):
        assert Bot.objects.get().description == "Writes headlines."
