"""The pages behind an invitation's link."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts import audit, invitations
from accounts.access import client_address
from accounts.models import Invitation, User
from accounts.people import has_address

SESSION = "invitation"
"""Where the session keeps the id of the invitation whose link was opened: through signing in or up, and back."""


@require_GET
@never_cache
def follow(request: HttpRequest, secret: str) -> HttpResponse:
    """The link of the mail. It leads on, so that the secret does not stay in the address bar."""
    invitation = invitations.find_invitation(secret)
    if invitation is None:
        return _closed(request, "This link is not an invitation of ours: is it whole?", 404)
    request.session[SESSION] = str(invitation.pk)
    return redirect("accounts:invitation")


@never_cache
def show(request: HttpRequest) -> HttpResponse:
    """Who invites to what. It is accepted by a POST only: mail programs look at links before people do."""
    invitation = invitations.get_invitation(request.session.get(SESSION))
    if invitation is None:
        return _closed(request, "Open the link in the mail that invites you.", 404)
    if told := invitations.why_closed(invitation):
        return _closed(request, told)
    person = request.user if isinstance(request.user, User) else None
    if request.method == "POST" and "later" in request.POST:
        del request.session[SESSION]
        return redirect("accounts:start")
    if request.method == "POST" and person is not None:
        return _accept(request, invitation, person)
    context = {"invitation": invitation, "is_for_me": person is not None and has_address(person, invitation.email)}
    return render(request, "accounts/invitation.html", context)


def on_the_way_to_accept(request: HttpRequest, person: User) -> bool:
    """Whether somebody who arrives was signing in or up to accept an invitation."""
    invitation = invitations.get_invitation(request.session.get(SESSION))
    return invitation is not None and has_address(person, invitation.email)


def _closed(request: HttpRequest, told: str, status: int = 410) -> HttpResponse:
    request.session.pop(SESSION, None)
    return render(request, "accounts/invitation.html", {"closed": told}, status=status)


def _accept(request: HttpRequest, invitation: Invitation, person: User) -> HttpResponse:
    try:
        with audit.acting(audit.Actor(person.email, person, client_address(request))):
            member = invitations.accept(invitation, person)
    except PermissionDenied:
        return redirect("accounts:invitation")  # the page says whose it is
    except ValidationError as error:
        return _closed(request, " ".join(error.messages))
    request.session.pop(SESSION, None)
    messages.success(request, f"Welcome to {member.organization.name}.")
    return redirect("bots:home", member.organization.slug)
