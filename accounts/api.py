"""What every API view shares: the door into the organization, and permissions by role."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from accounts import audit
from accounts.access import membership_in
from accounts.models import ApiToken, Membership, User
from accounts.tenancy import activate, no_tenant


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API token of the organization: `klr_…`."}


class OrganizationViewSet(GenericViewSet[Any]):
    """Base of every view below `/api/v1/organizations/{slug}/`.

    The tenant comes from the URL and the membership (or token): someone who is no member gets the same 404 as for an
    organization that does not exist. `permissions` names, for each action, what the role must carry; an action
    without an entry is a programming error.
    """

    permissions: ClassVar[dict[str, str]] = {}
    metadata_class = None  # OPTIONS answers 405: what there is stands in the schema
    membership: Membership

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with no_tenant(), audit.acting(audit.SYSTEM):  # what `initial` sets ends with the request
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        membership = self._membership(request)
        if membership is None:
            raise Http404
        if self.action in (None, "metadata"):
            return  # DRF answers 405 next
        permission = self.permissions[self.action]
        if not membership.allows(permission):
            raise PermissionDenied(f"Your role ({membership.get_role_display()}) does not allow this.")
        self.membership = membership
        activate(membership.organization_id)
        token = request.auth
        who = membership.user.email
        label = f"token {token.prefix}… of {who}" if isinstance(token, ApiToken) else who
        audit.become(audit.Actor(label, membership.user, request.META.get("REMOTE_ADDR") or None))

    def _membership(self, request: Request) -> Membership | None:
        if isinstance(request.auth, ApiToken):
            token = request.auth
            return token.membership if token.organization.slug == self.kwargs["slug"] else None
        return membership_in(request.user, self.kwargs["slug"]) if isinstance(request.user, User) else None
