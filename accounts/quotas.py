"""Quotas: how much an organization may use, how much it does, and the refusal when that is all.

Standing quotas (bots, stored bytes) are counted in the rows that use them, by counters that higher rooms register;
daily ones in a row a day (UTC), which one conditional UPDATE raises. All functions speak of the active organization.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F, Model, Sum
from django.db.models.functions import Greatest
from django.urls import reverse

from accounts import audit, clock
from accounts.models import Consumption, Export, Notification, Organization
from accounts.notifications import tell
from accounts.plans import PLANS, QUOTAS, Quota
from accounts.tenancy import active

Counter = Callable[[], float]
_counters: dict[str, list[Counter]] = {name: [] for name, quota in QUOTAS.items() if not quota.daily}
MOST = 1e15
_ADD = """
    INSERT INTO accounts_consumption AS used (organization_id, quota, day, amount) VALUES (%s, %s, %s, %s)
    ON CONFLICT (organization_id, quota, day) DO UPDATE SET amount = used.amount + EXCLUDED.amount
    WHERE used.amount + EXCLUDED.amount <= %s
"""
NEAR = 0.9
"""Share of a quota at which people are told."""


class QuotaExceeded(ValidationError):
    """A quota has no room for what was asked; the message says which, how much of it is used, and when it frees or
    what frees it.
    """

    def __init__(self, quota: Quota, limit: float, used: float, asked: float) -> None:
        self.quota, self.limit, self.used = quota, limit, used
        self.frees_at = tomorrow() if quota.daily else None
        super().__init__(_words(quota, limit, used, asked, self.frees_at), code="quota")


@dataclass(frozen=True)
class Usage:
    """One quota at this moment. `limit` None: not limited; `frees_at` None: when something is deleted."""

    quota: Quota
    used: float
    limit: float | None
    frees_at: datetime | None

    @property
    def exhausted(self) -> bool:
        return self.limit is not None and self.used >= self.limit

    @property
    def words(self) -> str:
        most = "no limit" if self.limit is None else f"of {shown(self.quota, self.limit)}"
        return f"{shown(self.quota, self.used)}{',' if self.limit is None else ''} {most}"


def register(quota: str, counter: Counter) -> None:
    """Let a room count what it has of a standing quota, for the active organization."""
    _counters[quota].append(counter)


def stored(model: type[Model]) -> Counter:
    """A counter of the bytes in the rows of a model that has a `size`."""
    return lambda: float(model._default_manager.aggregate(sum=Sum("size"))["sum"] or 0)


def limit_of(organization: Organization, quota: str) -> float | None:
    """How much of a quota an organization may use; None where it is not limited."""
    QUOTAS[quota]  # raises KeyError for a typing error, which must not pass for "not limited"
    if quota in organization.quotas:
        own: float | None = organization.quotas[quota]
        return own
    return PLANS[organization.plan].limits.get(quota)


def used(quota: str) -> float:
    """How much of a quota is used: today, or altogether."""
    if QUOTAS[quota].daily:
        row = Consumption.objects.filter(quota=quota, day=today()).values_list("amount", flat=True).first()
        return float(row or 0)
    return float(sum(counter() for counter in _counters[quota]))


def usage(organization: Organization | None = None) -> list[Usage]:
    """All quotas at this moment."""
    organization = organization or _organization()
    of_today = dict(Consumption.objects.filter(day=today()).values_list("quota", "amount"))
    return [
        Usage(quota, float(of_today.get(name, 0)), limit_of(organization, name), tomorrow())
        if quota.daily
        else Usage(quota, used(name), limit_of(organization, name), None)
        for name, quota in QUOTAS.items()
    ]


def series(days: int = 30) -> dict[str, list[tuple[date, float]]]:
    """Daily quota → what was used on each of the last days, today's last."""
    first = today() - timedelta(days=days - 1)
    rows = Consumption.objects.filter(day__gte=first).values_list("quota", "day", "amount")
    found = {(quota, day): amount for quota, day, amount in rows}
    dates = [first + timedelta(days=at) for at in range(days)]
    daily = (name for name, quota in QUOTAS.items() if quota.daily)
    return {name: [(day, found.get((name, day), 0.0)) for day in dates] for name in daily}


def check(quota: str, amount: float = 1, organization: Organization | None = None) -> None:
    """Raises QuotaExceeded when there is no room now. Nothing is promised: somebody else may take the room."""
    _room(quota, amount, limit_of(organization or _organization(), quota))


def _room(quota: str, amount: float, most: float | None) -> float:
    """How much is used already, where that is limited and there is room for the amount. Raises QuotaExceeded."""
    if most is None:
        return 0.0
    if (so_far := used(quota)) + amount > most:
        raise QuotaExceeded(QUOTAS[quota], most, so_far, amount)
    return so_far


def demand(quota: str, amount: float = 1) -> None:
    """`check` a standing quota and keep the room until the transaction ends: the caller makes what it asked for within
    it. Raises QuotaExceeded.
    """
    if limit_of(_organization(), quota) is None:
        return
    # One at a time: two of them would both see the last room.
    held = Organization.objects.select_for_update(no_key=True).get(pk=active())
    most = limit_of(held, quota)
    so_far = _room(quota, amount, most)
    if most and so_far < NEAR * most <= so_far + amount:
        _tell_near(held, quota, so_far + amount, most, f"quota {quota}")


def consume(quota: str, amount: float = 1, organization: Organization | None = None) -> None:
    """Use some of today's quota. Raises QuotaExceeded, and uses nothing, when there is not that much left."""
    organization = organization or _organization()
    most = limit_of(organization, quota)
    if not _add(quota, amount, most):
        assert most is not None  # without a limit there is always room
        raise QuotaExceeded(QUOTAS[quota], most, used(quota), amount)
    _notice(organization, quota, most)


def charge(quota: str, amount: float) -> None:
    """Book what was used of today's quota already, whether or not there was so much left."""
    organization = _organization()
    _add(quota, amount, None)
    _notice(organization, quota, limit_of(organization, quota))


def _notice(organization: Organization, quota: str, most: float | None) -> None:
    """Tell people once a day when nine tenths of a daily quota are used."""
    if not most or (so_far := used(quota)) < NEAR * most:
        return
    subject = f"quota {quota} {today()}"
    if not Notification.objects.filter(kind="quota.near", subject=subject).exists():
        _tell_near(organization, quota, so_far, most, subject)


def _tell_near(organization: Organization, quota: str, so_far: float, most: float, subject: str) -> None:
    known = QUOTAS[quota]
    title = f"{known.label}: {shown(known, so_far)} of {shown(known, most)} are used"
    remedy = "It is free again at midnight UTC." if known.daily else f"{known.remedy}."
    text = f"Beyond that nothing more is possible. {remedy} The operator of this installation can give you more."
    tell("quota.near", title, reverse("accounts:usage", args=[organization.slug]), text, subject)


def give_back(quota: str, amount: float = 1) -> None:
    """Undo a `consume` that came to nothing."""
    Consumption.objects.filter(quota=quota, day=today()).update(amount=Greatest(F("amount") - amount, 0.0))


def _add(quota: str, amount: float, most: float | None) -> bool:
    """One statement: whoever waits for the row sees the new amount. False where there is not that much room."""
    bound = math.inf if most is None else float(most)
    if amount > bound:
        return False  # also on a day that has no row yet
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [active(), quota, today(), amount, bound])
        return cursor.rowcount == 1


@transaction.atomic
def set_plan(organization: Organization, plan: str, quotas: Mapping[str, Any]) -> None:
    """Choose the active organization's plan, and the quotas that differ from it (None: no limit). Raises
    ValidationError.
    """
    if plan not in PLANS:
        raise ValidationError({"plan": f"There is no plan “{plan}”. Known are: {', '.join(PLANS)}."})
    checked(quotas)
    before, after = {"plan": organization.plan, "quotas": organization.quotas}, {"plan": plan, "quotas": dict(quotas)}
    if before == after:
        return
    organization.plan, organization.quotas = plan, dict(quotas)
    organization.save(update_fields=["plan", "quotas"])
    audit.record("organization.plan", organization, before=before, after=after)


def checked(quotas: Any) -> Mapping[str, Any]:
    """Raises ValidationError unless it maps names of quotas to amounts, or None for no limit."""
    known = f"Give amounts for any of: {', '.join(QUOTAS)}."
    if not isinstance(quotas, Mapping):
        raise ValidationError(known)
    if unknown := set(quotas) - set(QUOTAS):
        raise ValidationError(f"There is no quota “{min(unknown)}”. {known}")
    for name, value in quotas.items():
        if value is not None and (type(value) not in (int, float) or not 0 <= value <= MOST):  # also refuses NaN
            raise ValidationError(f"“{name}” is an amount of 0 or more, or null for no limit.")
    return quotas


def shown(quota: Quota, amount: float) -> str:
    """An amount as people read it."""
    if quota.unit != "bytes":
        return f"{amount:,.0f}"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= size:
            return f"{amount / size:,.1f} {unit}"
    return f"{amount:,.0f} bytes"


def today() -> date:
    return clock.now().astimezone(UTC).date()


def tomorrow() -> datetime:
    """When daily quotas are free again: the next midnight UTC."""
    return datetime.combine(today() + timedelta(days=1), datetime.min.time(), UTC)


def _words(quota: Quota, limit: float, used: float, asked: float, frees_at: datetime | None) -> str:
    most = f"{shown(quota, used)} of {shown(quota, limit)} are used"
    wants = f", and this needs {shown(quota, asked)}" if asked != 1 else ""
    if frees_at is not None:
        until = f"{frees_at:%d %B} 00:00 UTC"
        return f"The organization's quota is used up. {quota.label}: {most}{wants}. It is free again on {until}."
    return (
        f"The organization's quota is used up. {quota.label}: {most}{wants}. {quota.remedy}, or ask the operator of "
        "this installation for more."
    )


def _organization() -> Organization:
    return Organization.objects.get(pk=active())


register("stored_bytes", stored(Export))
