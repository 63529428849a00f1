"""People and organizations in the operator's panel."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import audit, clock
from accounts.models import AuditEntry, Organization, User
from accounts.operator import LookAcross
from accounts.tenancy import tenant


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
        self._set(request, queryset, clock.now(), "organization.pause")

    @admin.action(description="Resume publishing")
    def resume(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        self._set(request, queryset, None, "organization.resume")

    def _set(self, request: HttpRequest, queryset: QuerySet[Organization], moment: Any, action: str) -> None:
        who = audit.Actor(f"operator {request.user}", request.user if isinstance(request.user, User) else None)
        for organization in queryset:
            with tenant(organization.pk), audit.acting(who):
                organization.paused_at = moment
                organization.save(update_fields=["paused_at"])
                audit.record(action, organization)
        messages.success(request, f"Done for {len(queryset)} organization(s).")


@admin.register(AuditEntry)
class AuditEntryAdmin(LookAcross):
    list_display = ("at", "organization", "actor", "action", "object_type", "object_id")
    list_filter = ("action",)
    search_fields = ("actor", "object_id")
