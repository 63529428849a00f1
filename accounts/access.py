"""The door of every page: from a URL and a signed-in person to an active organization, or to a 404 that tells
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase

from accounts import audit, site
from accounts.models import Membership, Organization, User
from accounts.tenancy import no_tenant, tenant


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
            if not membership.allows(permission):
                raise PermissionDenied(f"Your role ({membership.get_role_display()}) does not allow this.")
            request.membership = membership
            request.organization = membership.organization
            who = audit.Actor(request.user.email, request.user, request.META.get("REMOTE_ADDR") or None)
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
    }
