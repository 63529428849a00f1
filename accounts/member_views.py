"""Pages of members and invitations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import clock, invitations, members
from accounts.access import OrganizationRequest, organization_page
from accounts.models import Invitation, Membership
from accounts.roles import Role, outranks


class InvitationForm(forms.Form):
    email = forms.EmailField(label="E-mail address")
    role = forms.ChoiceField(initial=Role.VIEWER)

    def __init__(self, by: Membership, *args: Any) -> None:
        super().__init__(*args)
        self.fields["role"].choices = grantable(by)  # type: ignore[attr-defined]


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


def grantable(by: Membership) -> list[tuple[str, str]]:
    """The roles that a member may give."""
    return [(value, str(label)) for value, label in Role.choices if not outranks(value, by.role)]


@organization_page("member_view")
def index(request: OrganizationRequest) -> HttpResponse:
    return _index(request, InvitationForm(request.membership))


def _index(request: OrganizationRequest, form: InvitationForm) -> HttpResponse:
    me, may = request.membership, request.membership.can
    people = sorted(
        Membership.objects.select_related("user"),
        key=lambda member: (Role.values.index(member.role), member.user.email),
    )
    waiting = Invitation.objects.filter(accepted_at=None, revoked_at=None) if may["member_manage"] else []
    context = {
        "tab": "members",
        "form": form,
        "roles": grantable(me),
        "members": [
            {
                "member": member,
                "is_me": member.pk == me.pk,
                "may_manage": may["member_manage"] and not outranks(member.role, me.role),
                "may_receive": may["organization_transfer"] and member.pk != me.pk and member.user.is_active,
            }
            for member in people
        ],
        "invitations": [
            {
                "invitation": invitation,
                "expired": invitation.expires_at <= clock.now(),
                "may_manage": not outranks(invitation.role, me.role),
            }
            for invitation in waiting
        ],
    }
    return render(request, "accounts/settings_members.html", context, status=400 if form.errors else 200)


@require_POST
@organization_page("member_manage")
def invite(request: OrganizationRequest) -> HttpResponse:
    form = InvitationForm(request.membership, request.POST)
    if form.is_valid():
        try:
            sent = invitations.invite(request.membership, form.cleaned_data["email"], form.cleaned_data["role"])
        except ValidationError as error:
            form.add_error("email", error.messages)
        else:
            messages.success(request, f"An invitation is on its way to {sent.email}. It holds for seven days.")
            return redirect("accounts:members", request.organization.slug)
    return _index(request, form)


@require_POST
@organization_page("member_manage")
def resend(request: OrganizationRequest, invitation_id: UUID) -> HttpResponse:
    return _do(request, lambda: f"Sent to {invitations.resend(request.membership, invitation_id).email} again.")


@require_POST
@organization_page("member_manage")
def revoke(request: OrganizationRequest, invitation_id: UUID) -> HttpResponse:
    return _do(request, lambda: f"{invitations.revoke(request.membership, invitation_id).email} is invited no more.")


@require_POST
@organization_page("member_manage")
def change_role(request: OrganizationRequest, person_id: UUID) -> HttpResponse:
    form = RoleForm(request.POST)
    if not form.is_valid():
        _member_or_404(person_id)
        messages.error(request, "Choose one of the roles.")
        return redirect("accounts:members", request.organization.slug)

    def verb() -> str:
        member = members.change_role(request.membership, person_id, form.cleaned_data["role"])
        return f"{member.user} is {member.get_role_display().lower()} now."

    return _do(request, verb)


@require_POST
@organization_page("member_manage")
def remove(request: OrganizationRequest, person_id: UUID) -> HttpResponse:
    def verb() -> str:
        members.remove_member(request.membership, person_id)
        return "Removed. Their API tokens ended with it."

    if person_id == request.user.pk:
        messages.error(request, "To go yourself, use “Leave” on the general settings.")
        return redirect("accounts:members", request.organization.slug)
    return _do(request, verb)


@require_POST
@organization_page("organization_transfer")
def transfer(request: OrganizationRequest, person_id: UUID) -> HttpResponse:
    def verb() -> str:
        member = members.transfer_ownership(request.membership, person_id)
        return f"{member.user} owns {request.organization.name} now, and you are an admin."

    return _do(request, verb)


def _do(request: OrganizationRequest, verb: Callable[[], str]) -> HttpResponse:
    """Do something to one row, and tell on the list how it went."""
    try:
        messages.success(request, verb())
    except (Membership.DoesNotExist, Invitation.DoesNotExist):
        raise Http404 from None
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("accounts:members", request.organization.slug)


def _member_or_404(person_id: UUID) -> None:
    if not Membership.objects.filter(user_id=person_id).exists():
        raise Http404
