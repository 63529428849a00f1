"""Pages about people and organizations."""

from __future__ import annotations

from allauth.account.utils import perform_login
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import services
from accounts.access import OrganizationRequest, organization_page
from accounts.invitation_views import on_the_way_to_accept
from accounts.models import Membership, User
from accounts.people import spend_link
from accounts.services import user_of_link


def sign_in_link(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """Sign a person in by a link: it stands for the password, and whoever has a second factor still gives it. The link
    is spent on a POST, so that a previewing mail program does not use it up.
    """
    user = user_of_link(uid, token)
    if user is None or (request.method == "POST" and not spend_link(user)):
        messages.error(
            request,
            "This sign-in link was used already or has expired. Ask for a new one, or sign in with your password.",
        )
        return redirect("account_login")
    if request.method == "POST":
        answer: HttpResponse = perform_login(request, user, email_verification="none")
        return answer
    return render(request, "accounts/sign_in_link.html", {"person": user})


@login_required
def start(request: HttpRequest) -> HttpResponse:
    """Where one lands after signing in: the first organization's home."""
    assert isinstance(request.user, User)  # login_required
    if on_the_way_to_accept(request, request.user):
        return redirect("accounts:invitation")
    # everyone: the person's own memberships decide where to go.
    mine = Membership.everyone.select_related("organization").filter(user=request.user)
    membership = mine.order_by("created_at").first()
    if membership is None:
        return render(request, "accounts/no_organization.html", status=200)
    return redirect("bots:home", membership.organization.slug)


@require_POST
@organization_page("bot_pause")
def pause(request: OrganizationRequest) -> HttpResponse:
    """The organization's kill switch: from now on no send begins."""
    services.pause_organization(request.organization)
    messages.success(request, "Paused: nothing of this organization is published until somebody resumes it.")
    return redirect("bots:home", request.organization.slug)


@require_POST
@organization_page("bot_pause")
def resume(request: OrganizationRequest) -> HttpResponse:
    try:
        services.resume_organization(request.organization)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "Publishing goes on. Slots that passed meanwhile count as missed.")
    return redirect("bots:home", request.organization.slug)
