"""The page of an organization's sanctions, and its appeals."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import clock
from accounts.access import OrganizationRequest, organization_page
from bots.models import Sanction, Takedown
from bots.report_forms import AppealForm
from bots.services import sanctions

MOST = 100


@organization_page("organization_view")
def index(request: OrganizationRequest) -> HttpResponse:
    return _page(request)


def _page(request: OrganizationRequest, refused: UUID | None = None, form: AppealForm | None = None) -> HttpResponse:
    rows = list(Sanction.objects.select_related("bot", "takedown")[:MOST])
    entries = [_entry(row, form if row.pk == refused else None) for row in rows]
    context = {
        "tab": "sanctions",
        "entries": entries,
        "takedowns": Takedown.objects.all()[:MOST],
    }
    return render(request, "bots/sanctions.html", context, status=400 if form else 200)


def _entry(sanction: Sanction, form: AppealForm | None) -> dict[str, Any]:
    over = bool(sanction.lifted_at or (sanction.until and sanction.until <= clock.now()))
    open_to_appeal = not over and sanction.appeal == Sanction.Appeal.NONE
    return {
        "sanction": sanction,
        "over": over,
        "form": (form or AppealForm(auto_id=f"id_%s_{sanction.pk}")) if open_to_appeal else None,
    }


@require_POST
@organization_page("organization_edit")
def appeal(request: OrganizationRequest, sanction_id: UUID) -> HttpResponse:
    if not Sanction.objects.filter(pk=sanction_id).exists():
        raise Http404
    form = AppealForm(request.POST, auto_id=f"id_%s_{sanction_id}")
    if not form.is_valid():
        return _page(request, sanction_id, form)
    try:
        sanctions.appeal(sanction_id, form.cleaned_data["text"])
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "Sent. The operator's answer will appear here, and you will be told of it.")
    return redirect("bots:sanctions", request.organization.slug)
