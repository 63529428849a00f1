"""Pages of organizations: beginning one, its general settings, its end."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import audit, leaving, members, organizations
from accounts.access import OrganizationRequest, client_address, organization_page
from accounts.models import Organization, User
from accounts.second_factor import has_second_factor


class NameForm(forms.ModelForm):
    class Meta:
        model = Organization
        fields = ("name",)


class DeletionForm(forms.Form):
    """The organization's name, typed as a sign that somebody means it."""

    name = forms.CharField(max_length=120, label="The organization's name", widget=forms.TextInput())

    def __init__(self, organization: Organization, *args: Any) -> None:
        super().__init__(*args)
        self._organization = organization
        self.fields["name"].widget.attrs |= {"autocomplete": "off"}
        self.fields["name"].help_text = f"Type “{organization.name}” to confirm."

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name.strip() != self._organization.name.strip():
            raise ValidationError(f"This is not the organization's name: type “{self._organization.name}”.")
        return name


@login_required
def new(request: HttpRequest) -> HttpResponse:
    """Begin an organization, as its owner."""
    assert isinstance(request.user, User)  # login_required
    form = NameForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        who = audit.Actor(request.user.email, request.user, client_address(request))
        try:
            with audit.acting(who):
                organization = organizations.begin_organization(form.cleaned_data["name"], request.user)
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            return redirect("bots:home", organization.slug)
    return render(request, "accounts/organization_new.html", {"form": form}, status=400 if form.errors else 200)


@organization_page("organization_view")
def general(request: OrganizationRequest) -> HttpResponse:
    return _general(request, NameForm(instance=request.organization))


def _general(request: OrganizationRequest, form: NameForm) -> HttpResponse:
    context = {
        "tab": "general",
        "form": form,
        "is_last_owner": members.is_last_owner(request.membership),
        "has_second_factor": has_second_factor(request.user),
    }
    return render(request, "accounts/settings_general.html", context, status=400 if form.errors else 200)


@require_POST
@organization_page("organization_edit")
def rename(request: OrganizationRequest) -> HttpResponse:
    # Not the request's own row: a name that is refused must not stand in the page's head.
    form = NameForm(request.POST, instance=Organization.objects.get(pk=request.organization.pk))
    if not form.is_valid():
        return _general(request, form)
    organizations.rename_organization(request.organization.pk, form.cleaned_data["name"])
    messages.success(request, "Renamed. The addresses of its pages stay what they were.")
    return redirect("accounts:settings", request.organization.slug)


@require_POST
@organization_page("organization_edit")
def second_factor(request: OrganizationRequest) -> HttpResponse:
    """Demand a second factor of every member, or no longer."""
    demanded = request.POST.get("demanded") == "1"
    try:
        organizations.demand_second_factor(request.membership, demanded)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, DEMANDED if demanded else "Members get in without a second factor again.")
    return redirect("accounts:settings", request.organization.slug)


DEMANDED = "From now on nobody gets in without a second factor. Members without one read where to add it."


@require_POST
@organization_page("organization_view")
def leave(request: OrganizationRequest) -> HttpResponse:
    try:
        members.leave(request.membership)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("accounts:settings", request.organization.slug)
    messages.success(request, f"You left {request.organization.name}.")
    return redirect("accounts:start")


@organization_page("organization_delete")
def deletion(request: OrganizationRequest) -> HttpResponse:
    """What deleting means, and the form that asks for it."""
    form = DeletionForm(request.organization, request.POST or None)
    if request.method == "POST" and form.is_valid():
        organization = leaving.request_deletion(request.organization.pk)
        messages.warning(request, f"{organization.name} is paused and will be deleted. You can undo this for 14 days.")
        return redirect("accounts:settings", organization.slug)
    context = {"tab": "exports", "form": form}
    return render(request, "accounts/settings_deletion.html", context, status=400 if form.errors else 200)


@require_POST
@organization_page("organization_delete")
def undo_deletion(request: OrganizationRequest) -> HttpResponse:
    try:
        organization = leaving.undo_deletion(request.organization.pk)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        still = " It is still paused, as it was before." if organization.paused_at else ""
        messages.success(request, f"{organization.name} will not be deleted.{still}")
    return redirect("accounts:settings", request.organization.slug)
