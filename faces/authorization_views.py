"""Pages of connecting by the platform's own consent: off to the platform, and back from it."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from accounts.access import OrganizationRequest, membership_in, organization_page
from accounts.models import User
from faces import authorizations
from faces.authorizations import NotAuthorized
from faces.contract import FaceError
from faces.models import Authorization
from faces.registry import FACES
from faces.views import check_and_tell, connection_or_404, depart, filled_in, reconnect_form, show


@require_POST
@organization_page("connection_edit")
def authorize(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    """Allow an old connection anew, with the values that were filled in."""
    connection = connection_or_404(connection_id)
    form = reconnect_form(connection, request.POST)
    if not FACES[connection.kind].flow:
        form.add_error(None, f"{connection.label} is connected by what is entered here.")
    elif form.is_valid():
        page = depart(request, connection.kind, connection.name, filled_in(form), form, connection)
        if page is not None:
            return page
    return show(request, connection, form)


@require_GET
@login_required
def callback(request: HttpRequest) -> HttpResponseBase:
    """Where every platform sends people back to, with a code or an error."""
    assert isinstance(request.user, User)
    try:
        row = authorizations.arrived(request.GET.get("state", ""), request.user.pk)
    except NotAuthorized as error:
        return _nothing(request, error)
    membership = membership_in(request.user, row.organization.slug)
    if membership is None or not membership.allows("connection_edit"):
        told = NotAuthorized(
            "You may not connect accounts here any more",
            f"When you set out you could connect accounts for {row.organization.name}; now you cannot. Nothing was "
            "connected: ask one of its owners.",
        )
        return _nothing(request, told, status=403)
    return _arrive(request, slug=row.organization.slug, row=row)


@organization_page("connection_edit")
def _arrive(request: OrganizationRequest, row: Authorization) -> HttpResponse:
    code, refusal = request.GET.get("code", ""), request.GET.get("error", "")
    again = _begin_again(row)
    try:
        if refusal or not code:
            raise authorizations.refused(row, refusal or "no code")
        connection = authorizations.finish(row, code)
    except NotAuthorized as error:
        return _nothing(request, error, again)
    except FaceError as error:
        told = NotAuthorized(f"{authorizations.label(row)} gave no credentials", f"{error} Nothing was connected.")
        return _nothing(request, told, again)
    except ValidationError as error:
        told = NotAuthorized("The connection could not be kept", " ".join(error.messages))
        return _nothing(request, told, again)
    check_and_tell(request, connection)
    return redirect("faces:connection", row.organization.slug, connection.pk)


def _begin_again(row: Authorization) -> str:
    if row.connection_id is not None:
        return reverse("faces:connection", args=[row.organization.slug, row.connection_id])
    return reverse("faces:connection-new", args=[row.organization.slug, row.kind])


def _nothing(request: HttpRequest, error: NotAuthorized, again: str = "", status: int = 400) -> HttpResponse:
    context = {"heading": error.heading, "words": str(error), "again": again}
    return render(request, "faces/connection_refused.html", context, status=status)
