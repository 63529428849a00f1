"""Tenancy that fails closed.

The tenant is the organization. Code enters it once, with `tenant(organization_id)`; every query of a tenant-owned
model is then confined to it by an expression that is compiled into the SQL, and a query outside of any tenant raises.
The filter lives in the expression, not in wrapped methods, so that sub-queries, `.exists()`, async iteration and
querysets built at import time are confined too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self, TypeVar
from uuid import UUID

from django.db import models
from django.db.models.expressions import Expression
from django.db.models.sql.compiler import SQLCompiler

EVERYONE = "everyone"
MARK = "/* everyone */"
"""In the SQL of a statement that deliberately goes across organizations (accounts/row_security.py looks for it)."""

_active: ContextVar[UUID | None] = ContextVar("active_organization", default=None)

M = TypeVar("M", bound=models.Model)


class NoTenant(RuntimeError):
    """A tenant-owned model was queried outside of `with tenant(…)`."""


class WrongTenant(RuntimeError):
    """A row of one organization was about to be written while another one was active."""


def active() -> UUID:
    """The active organization's id. Raises NoTenant when there is none."""
    organization_id = _active.get()
    if organization_id is None:
        raise NoTenant("No organization is active: wrap this in `with tenant(organization_id):`.")
    return organization_id


def active_or_none() -> UUID | None:
    return _active.get()


@contextmanager
def tenant(organization_id: UUID | str) -> Iterator[UUID]:
    """Make an organization the active one within the block."""
    value = organization_id if isinstance(organization_id, UUID) else UUID(organization_id)
    token = _active.set(value)
    try:
        yield value
    finally:
        _active.reset(token)


@contextmanager
def no_tenant() -> Iterator[None]:
    """Within the block no organization is active, whatever was before; what `activate` sets inside ends with it."""
    token = _active.set(None)
    try:
        yield
    finally:
        _active.reset(token)


def activate(organization_id: UUID) -> None:
    """Make an organization active until the surrounding `no_tenant()` block ends (for code that learns it half-way,
    like an API view).
    """
    _active.set(organization_id)


class ActiveOrganization(Expression):
    """The active organization's id, looked up when the query is compiled."""

    output_field = models.UUIDField()

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> Any:
        return "%s", [active()]


class AcrossOrganizations(Expression):
    """A condition that is always true, and says so in the SQL for row-level security."""

    conditional = True
    output_field = models.BooleanField()

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> Any:
        return f"TRUE {MARK}", []


class TenantQuerySet(models.QuerySet[M]):
    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        rows = list(objs)
        for row in rows:
            claim_for_tenant(row)
        return super().bulk_create(rows, *args, **kwargs)


class TenantManager(models.Manager.from_queryset(TenantQuerySet)):  # type: ignore[misc]
    """Sees the active organization's rows only."""

    def get_queryset(self) -> TenantQuerySet[Any]:
        queryset: TenantQuerySet[Any] = super().get_queryset().filter(organization_id=ActiveOrganization())
        return queryset


class EveryoneManager(models.Manager[M]):
    """Sees the rows of every organization. It reads, changes and deletes; new rows are made within a tenant."""

    def get_queryset(self) -> models.QuerySet[M]:
        return super().get_queryset().filter(AcrossOrganizations())


def claim_for_tenant(row: Any) -> None:
    """Give a new row to the active organization; refuse one that says it belongs to another. Raises NoTenant,
    WrongTenant.
    """
    if row.organization_id is None:
        row.organization_id = active()
    elif row.organization_id != active():
        raise WrongTenant(f"This {row._meta.verbose_name} belongs to another organization than the active one.")


class TenantModel(models.Model):
    """Base of every row that an organization owns.

    `objects` is confined to the active organization; `everyone` is the deliberate way out, and each use of it says
    why. `base_manager_name` confines what Django itself does behind our back: saving `Model(pk=someone_else's)`,
    refreshing, following relations, validating foreign keys.
    """

    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, editable=False, related_name="+"
    )

    objects = TenantManager()
    everyone = EveryoneManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        claim_for_tenant(self)
        super().save(*args, **kwargs)

    async def asave(self, *args: Any, **kwargs: Any) -> None:
        claim_for_tenant(self)
        await super().asave(*args, **kwargs)

    @classmethod
    def locked(cls, pk: UUID | str | int) -> Self:
        """The row with this id, locked until the transaction ends. Raises DoesNotExist."""
        row: Self = cls.objects.select_for_update(of=("self",)).get(pk=pk)
        return row
