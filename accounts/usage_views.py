"""The page of what an organization uses of its quotas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from accounts import quotas
from accounts.access import OrganizationRequest, organization_page
from accounts.plans import PLANS, QUOTAS

BAR, HEIGHT = 8, 40
"""Of the small history: width of a day and height, in the drawing's own units."""


@dataclass(frozen=True)
class Day:
    """A bar of the history."""

    label: str
    x: int
    y: float
    height: float


@organization_page("usage_view")
def index(request: OrganizationRequest) -> HttpResponse:
    series = quotas.series()
    entries = [_entry(usage, series.get(usage.quota.name)) for usage in quotas.usage(request.organization)]
    plan = PLANS[request.organization.plan].label
    return render(request, "accounts/usage.html", {"tab": "usage", "plan": plan, "entries": entries})


def _entry(usage: quotas.Usage, days: Sequence[tuple[date, float]] | None) -> dict[str, Any]:
    share = min(1.0, usage.used / usage.limit) if usage.limit else float(usage.limit == 0)
    history = _history(usage.quota.name, days) if days and any(amount for _, amount in days) else None
    return {"usage": usage, "percent": round(100 * share), "history": history}


def _history(quota: str, days: Sequence[tuple[date, float]]) -> dict[str, Any]:
    most = max(amount for _, amount in days)
    shown = [quotas.shown(QUOTAS[quota], amount) for _, amount in days]
    bars = [
        Day(f"{day:%-d %B}: {words}", BAR * at, HEIGHT * (1 - amount / most), HEIGHT * amount / most)
        for at, ((day, amount), words) in enumerate(zip(days, shown, strict=True))
    ]
    rows = [(day, words) for (day, amount), words in zip(days, shown, strict=True) if amount]
    return {
        "bars": bars,
        "width": BAR * len(days),
        "height": HEIGHT,
        "most": quotas.shown(QUOTAS[quota], most),
        "rows": rows,
    }
