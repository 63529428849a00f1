"""Base of the operator's panel: staff look across organizations, and change nothing there but through actions."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.response import SimpleTemplateResponse
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin

from accounts import audit
from accounts.access import client_address
from accounts.models import User
from accounts.tenancy import tenant

MOST_COUNTED = 1000
PanelView = Callable[..., HttpResponse]


def operator(request: HttpRequest) -> audit.Actor:
    """Who acts, for the audit logs of the organizations that are acted on."""
    user = request.user if isinstance(request.user, User) else None
    return audit.Actor(f"operator {request.user}", user, client_address(request))


def operator_page(permission: str) -> Callable[[PanelView], PanelView]:
    """Decorate a view of the panel: for staff who hold the permission, as its lists are; what it does is the
    operator's doing.
    """

    def decorate(view: PanelView) -> PanelView:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied(f"This needs the right {permission}.")
            with audit.acting(operator(request)):
                return view(request, *args, **kwargs)

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return admin.site.admin_view(wrapped)(request, *args, **kwargs)

        return wraps(view)(guarded)

    return decorate


def panel(request: HttpRequest, template: str, title: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """A page within the panel's frame."""
    frame = {**admin.site.each_context(request), "title": title, "is_nav_sidebar_enabled": True}
    return render(request, template, frame | context, status=status)


class CappedPaginator(Paginator):
    """Counts no further than a thousand rows: of a long list the newest are shown, and filters and search find more."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return len(rows.order_by().values_list("pk")[:MOST_COUNTED])


class LookAcross(ModelAdmin):
    """Lists and shows rows of every organization, without adding, changing or deleting: writes belong to services."""

    paginator = CappedPaginator
    show_full_result_count = False

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
