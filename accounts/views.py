"""Pages about people and organizations."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import services
from accounts.access import OrganizationRequest, organization_page
from accounts.models import Membership, User
from accounts.services import user_of_link


class SignIn(LoginView):
    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True


class SignOut(LogoutView):
    pass


def sign_in_link(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """Sign a person in by a link. The link is spent on a POST, so that a previewing mail program does not use it up."""
    user = user_of_link(uid, token)
    if user is None:
        messages.error(
            request,
            "This sign-in link was used already or has expired. Ask for a new one, or sign in with your password.",
        )
        return redirect("accounts:sign-in")
    if request.method == "POST":
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("accounts:start")
    return render(request, "accounts/sign_in_link.html", {"person": user})


@login_required
def start(request: HttpRequest) -> HttpResponse:
    """Where one lands after signing in: the first organization's home."""
    assert isinstance(request.user, User)  # login_required
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
    services.resume_organization(request.organization)
    messages.success(request, "Publishing goes on. Slots that passed meanwhile count as missed.")
    return redirect("bots:home", request.organization.slug)
