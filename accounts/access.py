"""The door of every page: from a URL and a signed-in person to an active organization, or to a 404 that tells
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial, wraps
from ipaddress import ip_address
from typing import Any, Concatenate

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.decorators import login_required
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils.crypto import constant_time_compare

from accounts import audit, clock, notifications, second_factor, site
from accounts.models import Membership, Organization, User
from accounts.tenancy import no_tenant, tenant


def client_address(request: Any) -> str | None:
    """The address that a request came from; None where there is none (a local socket).

    Every proxy adds to X-Forwarded-For whom it was asked by, so behind `TRUSTED_PROXIES` of them the address stands
    that many places from the right. What stands left of it anybody may have written.
    """
    peer: str | None = request.META.get("REMOTE_ADDR") or None
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    if not settings.TRUSTED_PROXIES or len(hops) < settings.TRUSTED_PROXIES:
        return peer
    try:
        return str(ip_address(hops[-settings.TRUSTED_PROXIES]))
    except ValueError:
        return peer


class OrganizationRequest(HttpRequest):
    """A request inside an organization, as `organization_page` hands it to a view."""

    user: User
    organization: Organization
    membership: Membership


PageView = Callable[Concatenate[OrganizationRequest, ...], HttpResponseBase]


def membership_in(user: User, slug: str) -> Membership | None:
    """A person's membership in the organization of that slug."""
    # everyone: this look-up is what decides which tenant may be entered.
    return (
        Membership.everyone.select_related("organization", "user")
        .filter(organization__slug=slug, user=user, user__is_active=True)
        .first()
    )


AFTER_THE_END = ("organization_", "member_", "token_")
"""Permissions that still change something while an organization waits to be deleted: it can be undone, exported, and
left."""


SECOND_FACTOR_WORDS = (
    "This organization lets nobody in without a second factor. Add an authenticator app or a passkey to your account: "
    f"{settings.PUBLIC_URL}/account/second-factor/"
)


def lacks_second_factor(membership: Membership) -> bool:
    """Whether the organization demands a second factor that its member has not. No query where none is demanded."""
    return membership.organization.demands_mfa and not second_factor.has_second_factor(membership.user)


def why_closed(membership: Membership, permission: str, method: str | None) -> str:
    """Why nothing may be changed with this permission at present, in words; "" when it may, or nothing would change."""
    leaving = membership.organization.deletion_requested_at
    if not leaving or method in ("GET", "HEAD", "OPTIONS") or permission.startswith(AFTER_THE_END):
        return ""
    return f"{membership.organization} is about to be deleted and cannot be changed. An owner can undo the deletion."


def session_lives(session: Session | None, user: User) -> bool:
    """Whether a stored session still signs this person in: it was not ended, here or in another browser, and the
    password is the one it began with. For whatever outlives its request, like a websocket.
    """
    if session is None or session.expire_date <= clock.now():
        return False
    content = session.get_decoded()
    signed_in = content.get(SESSION_KEY) == str(user.pk)
    return signed_in and constant_time_compare(content.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())


def organization_page(permission: str) -> Callable[[PageView], Callable[..., HttpResponseBase]]:
    """Decorate a view whose URL has `slug`: signs in, finds the membership (404 without one), enters the tenant, asks
    the role (403).
    """

    def decorate(view: PageView) -> Callable[..., HttpResponseBase]:
        @login_required
        @wraps(view)
        def wrapped(request: Any, slug: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            membership = membership_in(request.user, slug)
            if membership is None:
                raise Http404
            if lacks_second_factor(membership):
                return render(request, "accounts/second_factor_needed.html", {"place": membership}, status=403)
            if not membership.allows(permission):
                raise PermissionDenied(f"Your role ({membership.get_role_display()}) does not allow this.")
            if told := why_closed(membership, permission, request.method):
                raise PermissionDenied(told)
            request.membership = membership
            request.organization = membership.organization
            who = audit.Actor(request.user.email, request.user, client_address(request))
            with tenant(membership.organization_id), audit.acting(who):
                response = view(request, *args, **kwargs)
                if hasattr(response, "render") and callable(response.render):
                    response.render()  # while the tenant is still active
                return response

        wrapped.permission = permission  # type: ignore[attr-defined]  # what the authorization tests read
        return wrapped

    return decorate


class TenantFreeMiddleware:
    """Every request starts without a tenant, whatever its thread did before."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with no_tenant():
            return self.get_response(request)


def organization_context(request: HttpRequest) -> dict[str, Any]:
    """Template context: the organization, the membership with `can`, and the person's other organizations."""
    membership: Membership | None = getattr(request, "membership", None)
    if membership is None:
        return {}
    # everyone: the switcher lists a person's own memberships across organizations.
    memberships = (
        Membership.everyone.select_related("organization").filter(user=membership.user).order_by("organization__name")
    )
    return {
        "organization": membership.organization,
        "membership": membership,
        "can": membership.can,
        "memberships": memberships,
        "site_paused": site.paused,
        "unread_count": cache(partial(_unread_count, membership)),
    }


def _unread_count(membership: Membership) -> int:
    with tenant(membership.organization_id):  # error pages are made after the view has left it
        return notifications.unread_count(membership)
