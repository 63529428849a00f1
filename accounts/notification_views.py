"""Pages of notifications: the bell, what a person was told, and how they want to be told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts import keyset, notification_mail, notifications
from accounts.access import OrganizationRequest, organization_page
from accounts.models import Membership, Notification, NotificationChoice
from accounts.notification_kinds import KINDS

PER_PAGE = 30


@organization_page("organization_view")
def index(request: OrganizationRequest) -> HttpResponse:
    """What the person was told in this organization, newest first."""
    try:
        cursor = keyset.parsed_cursor(request.GET["page"], Notification) if "page" in request.GET else None
    except ValidationError as error:
        return render(request, "accounts/notifications.html", {"problem": error.message}, status=400)
    page = keyset.page(notifications.shown_to(request.membership), cursor, size=PER_PAGE)
    return render(request, "accounts/notifications.html", {"entries": _shown(page.rows), **page.urls()})


def _shown(rows: Iterable[Notification]) -> list[dict[str, Any]]:
    return [{"row": row, "label": KINDS[row.kind].label} for row in rows]


@organization_page("organization_view")
def bell(request: OrganizationRequest) -> HttpResponse:
    """The bell of the masthead, or nothing (204) while it would say what it says."""
    unread = notifications.unread_count(request.membership)
    if request.GET.get("was") == str(unread):
        return HttpResponse(status=204)
    return render(request, "components/_bell.html", {"unread_count": unread})


@organization_page("organization_view")
def follow(request: OrganizationRequest, notification_id: UUID) -> HttpResponseBase:
    """Mark a notification read and go to what it is about."""
    try:
        row = notifications.read(request.membership, notification_id)
    except Notification.DoesNotExist:
        raise Http404 from None
    return redirect(row.path)


@organization_page("organization_view")
@require_POST
def read_all(request: OrganizationRequest) -> HttpResponseBase:
    notifications.read_all(request.membership)
    return redirect("accounts:notifications", request.organization.slug)


@organization_page("organization_view")
def choices(request: OrganizationRequest) -> HttpResponseBase:
    """How the person wants to be told of each kind."""
    if request.method == "POST":
        return _choose(request)
    found = [
        {"choice": choice, "kind": KINDS[choice.kind], "name": choice.kind}
        for choice in notifications.choices_of(request.membership)
    ]
    context = {"tab": "notifications", "choices": found, "emails": NotificationChoice.Email.choices}
    return render(request, "accounts/settings_notifications.html", {**context, "hour": notification_mail.DIGEST_HOUR})


def _choose(request: OrganizationRequest) -> HttpResponseBase:
    try:
        with transaction.atomic():
            for choice in notifications.choices_of(request.membership):
                email = request.POST.get(f"{choice.kind}:email")
                if email is not None:  # a kind that the form did not show yet stays what it was
                    on_page = f"{choice.kind}:page" in request.POST
                    notifications.choose(request.user, choice.kind, on_page=on_page, email=email)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "Saved.")
    return redirect("accounts:notification-choices", request.organization.slug)


@csrf_exempt  # mail programs post here, without a page of ours; the signed address is the permission
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """End mails of a kind for whoever got one, without signing in. A look changes nothing: scanners follow links."""
    try:
        member, kind = notification_mail.subscription_of(token)
    except (BadSignature, Membership.DoesNotExist):
        raise Http404 from None
    label = KINDS[kind].label if kind in KINDS else ""
    done = request.method == "POST"
    if done:
        notification_mail.unsubscribe(member, kind)
    context = {"label": label, "place": member.organization, "done": done, "email": member.user.email}
    return render(request, "accounts/unsubscribe.html", context)
