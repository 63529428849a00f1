"""Base of the operator's panel: staff look across organizations, and change nothing there but through actions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse

from accounts.tenancy import tenant


class LookAcross(admin.ModelAdmin):
    """Lists and shows rows of every organization, without adding, changing or deleting: writes belong to services."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # everyone: the operator moderates the whole installation.
        everyone: QuerySet[Any] = self.model.everyone.select_related("organization")
        return everyone

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One row's page, shown from inside its organization, so that what it points to can be shown too."""
        row = self.get_object(request, object_id) if object_id else None
        if row is None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        with tenant(row.organization_id):
            response = super().changeform_view(request, object_id, form_url, extra_context)
            if isinstance(response, SimpleTemplateResponse):
                response.render()
        return response

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
