"""What a connection's calls may cost."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from faces import governor, views


@require_POST
@organization_page("connection_edit")
def budget(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    """Set what calls may cost per UTC day."""
    connection = views.connection_or_404(connection_id)
    form = views.BudgetForm(request.POST)
    if form.is_valid():
        governor.set_budget(connection.pk, form.cleaned_data["daily_budget"])
        return redirect("faces:connection", request.organization.slug, connection.pk)
    return views.show(request, connection, views.reconnect_form(connection, None), budget=form)
