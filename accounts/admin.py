"""People and organizations in the operator's panel."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import audit, services, site
from accounts.models import AuditEntry, Organization, Site, User
from accounts.operator import LookAcross
from accounts.tenancy import tenant


def _operator(request: HttpRequest) -> audit.Actor:
    return audit.Actor(f"operator {request.user}", request.user if isinstance(request.user, User) else None)


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    list_display = ("email", "name", "is_active", "is_staff", "created_at")
    search_fields = ("email", "name")
    fields = ("email", "name", "is_active", "is_staff")

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # whoever must go is deactivated: what they did stays on record


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin):
    list_display = ("name", "slug", "paused_at", "created_at")
    search_fields = ("name", "slug")
    readonly_fields = ("paused_at",)
    actions = ("pause", "resume")

    def has_delete_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return False  # its end is its owner's to decide, and its audit log cannot be deleted row by row

    @admin.action(description="Pause: publish nothing of these organizations")
    def pause(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        self._each(request, queryset, services.pause_organization)

    @admin.action(description="Resume publishing")
    def resume(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        self._each(request, queryset, services.resume_organization)

    def _each(
        self, request: HttpRequest, queryset: QuerySet[Organization], verb: Callable[[Organization], None]
    ) -> None:
        for organization in queryset:
            with tenant(organization.pk), audit.acting(_operator(request)):
                verb(organization)
        messages.success(request, f"Done for {len(queryset)} organization(s).")


@admin.register(Site)
class SiteAdmin(admin.ModelAdmin):
    """The switch of the whole installation; it has one row."""

    list_display = ("__str__", "paused_at", "pause_reason", "pulse_at")
    actions = ("pause", "resume")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Site]:
        Site.objects.get_or_create(pk=1)
        return super().get_queryset(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Site | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Site | None = None) -> bool:
        return False

    @admin.action(description="Pause: publish nothing of this whole installation")
    def pause(self, request: HttpRequest, queryset: QuerySet[Site]) -> None:
        with audit.acting(_operator(request)):
            site.pause_site("Paused by the operator.")
        messages.success(request, "Nothing is published until it is resumed.")

    @admin.action(description="Resume publishing")
    def resume(self, request: HttpRequest, queryset: QuerySet[Site]) -> None:
        with audit.acting(_operator(request)):
            site.resume_site()
        messages.success(request, "Publishing goes on.")


@admin.register(AuditEntry)
class AuditEntryAdmin(LookAcross):
    list_display = ("at", "organization", "actor", "action", "object_type", "object_id")
    list_filter = ("action",)
    search_fields = ("actor", "object_id")
