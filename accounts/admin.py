"""People and organizations in the operator's panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts import audit, quotas, services, site
from accounts.models import AuditEntry, Membership, Organization, Site, User
from accounts.operator import LookAcross, operator
from accounts.people import vouch_for
from accounts.plans import PLANS, QUOTAS
from accounts.tenancy import tenant

admin.site.index_title = "Everything that is kept"

for model in apps.get_models():
    if model.__module__.startswith("allauth.") and admin.site.is_registered(model):
        admin.site.unregister(model)  # secrets, session keys and settings that come from the environment


def _record(request: HttpRequest, user: User, action: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Add a line about a person to the log of every organization that they belong to."""
    # everyone: a person belongs to no organization alone.
    for organization_id in Membership.everyone.filter(user=user).values_list("organization_id", flat=True):
        with tenant(organization_id), audit.acting(operator(request)):
            audit.record(action, user, before=before, after=after)


_EXAMPLE = '{"bots": 10, "stored_bytes": null}'


class OrganizationForm(forms.ModelForm):
    """What the operator decides about an organization; the rest is for its own people."""

    plan = forms.ChoiceField(
        choices=[(name, plan.label) for name, plan in PLANS.items()], widget=UnfoldAdminSelectWidget
    )
    quotas = forms.JSONField(
        required=False,
        widget=UnfoldAdminTextareaWidget,
        help_text=f"Quotas that differ from the plan's, of {', '.join(QUOTAS)}: {_EXAMPLE}, where null means no limit.",
    )

    class Meta:
        model = Organization
        fields = ("plan", "quotas")

    def clean_quotas(self) -> dict[str, Any]:
        return dict(quotas.checked(self.cleaned_data["quotas"] or {}))


@admin.register(User)
class UserAdmin(ModelAdmin):
    list_display = ("email", "name", "is_active", "is_staff", "created_at")
    search_fields = ("email", "name")
    fields = ("email", "name", "is_active", "is_staff")

    actions = ("remove_second_factors",)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # whoever must go is deactivated: what they did stays on record

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        if not change or "email" in form.changed_data:
            vouch_for(obj)
        if change and form.changed_data:
            before = {name: form.initial[name] for name in form.changed_data}
            _record(request, obj, "user.change", before, {name: getattr(obj, name) for name in form.changed_data})

    @admin.action(description="Remove the second factors of people who lost theirs")
    def remove_second_factors(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        Authenticator.objects.filter(user__in=queryset).delete()
        for user in queryset:
            _record(request, user, "user.remove_second_factors", {}, {})
        messages.success(request, "Removed. They sign in with their password or a link, and add a new one.")


@admin.register(Organization)
class OrganizationAdmin(ModelAdmin):
    form = OrganizationForm
    list_display = ("name", "slug", "plan", "paused_at", "created_at")
    search_fields = ("name", "slug")
    readonly_fields = ("name", "slug", "paused_at", "deletion_requested_at")
    fields = ("name", "slug", "plan", "quotas", "paused_at", "deletion_requested_at")
    actions = ("pause", "resume")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # one without an owner could be entered by nobody: `manage.py create_organization` makes both

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        kept = Organization.objects.get(pk=obj.pk)
        with tenant(obj.pk), audit.acting(operator(request)):
            quotas.set_plan(kept, form.cleaned_data["plan"], form.cleaned_data["quotas"])

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
        done = 0
        for organization in queryset:
            try:
                with tenant(organization.pk), audit.acting(operator(request)):
                    verb(organization)
            except ValidationError as error:
                messages.error(request, " ".join(error.messages))
            else:
                done += 1
        messages.success(request, f"Done for {done} organization(s).")


@admin.register(Site)
class SiteAdmin(ModelAdmin):
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
        with audit.acting(operator(request)):
            site.pause_site("Paused by the operator.")
        messages.success(request, "Nothing is published until it is resumed.")

    @admin.action(description="Resume publishing")
    def resume(self, request: HttpRequest, queryset: QuerySet[Site]) -> None:
        with audit.acting(operator(request)):
            site.resume_site()
        messages.success(request, "Publishing goes on.")


@admin.register(AuditEntry)
class AuditEntryAdmin(LookAcross):
    list_display = ("at", "organization", "actor", "action", "object_type", "object_id")
    list_filter = ("action",)
    search_fields = ("actor", "object_id")
