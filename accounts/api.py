"""What every API view shares: the door into the organization, permissions by role and scope, limits, and requests that
act once or not at all.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any, ClassVar

from django.db import transaction
from django.http import Http404
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.exceptions import PermissionDenied, UnsupportedMediaType, ValidationError
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from accounts import audit, etags, idempotency, throttles
from accounts.access import SECOND_FACTOR_WORDS, client_address, lacks_second_factor, membership_in, why_closed
from accounts.models import ApiToken, Membership, User
from accounts.problems import Conflict, MissingScope, SecondFactorMissing
from accounts.schema import query_parameters
from accounts.tenancy import activate, no_tenant


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API token of the organization: `klr_…`."}


class OrganizationViewSet(GenericViewSet[Any]):
    """Base of every view below `/api/v1/organizations/{slug}/`.

    The tenant comes from the URL and the membership (or token): someone who is no member gets the same 404 as for an
    organization that does not exist. `permissions` names, for each action, what the role (and the token's scopes) must
    carry; an action without an entry is a programming error. `membership.allows(…)` knows the token's scopes, too.

    Query parameters are those that the schema lists, and others are refused: declare them by filters, or by
    `@extend_schema(parameters=[OpenApiParameter(…)])`.
    """

    permissions: ClassVar[dict[str, str]] = {}
    ordering: ClassVar[tuple[str, ...] | None] = None
    """How the list stands unless the request asks for another order; None: as its paginator says."""
    ordering_fields: ClassVar[tuple[str, ...]] = ()
    """Fields of the model (or annotations) that the list's `ordering` parameter takes."""
    untagged: ClassVar[frozenset[str]] = frozenset()
    """Fields that change by themselves, like the next slots: left out of the ETag."""
    limits: ClassVar[dict[str, str]] = {}
    """Action → limit of `settings.API_LIMITS` that its requests of one organization fall under besides."""
    commits_midway: ClassVar[frozenset[str]] = frozenset()
    """Actions that speak with others, or wait for them, and so must not run within one transaction: what they did
    before an error stays done.
    """
    metadata_class = None  # OPTIONS answers 405: what there is stands in the schema
    membership: Membership
    used: Sequence[throttles.Used] = ()

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """APIView's, with `_run_action` in place of the handler."""
        self.args, self.kwargs, self.headers = args, kwargs, self.default_response_headers
        with no_tenant(), audit.acting(audit.SYSTEM):  # what `initial` sets ends with the request
            self.request = self.initialize_request(request, *args, **kwargs)
            try:
                self.initial(self.request, *args, **kwargs)
                response = self._run_action()
            except Exception as error:
                self.used = error.used if isinstance(error, throttles.Throttled) else self.used
                response = self.handle_exception(error)
            self.response = self.finalize_response(self.request, response, *args, **kwargs)
            throttles.tell(self.response, self.used)
            return self.response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        _refuse_other_charsets(request)
        super().initial(request, *args, **kwargs)
        membership = self._membership(request)
        self.used = throttles.count(*self._limits(request, membership))
        if membership is None:
            raise Http404
        if self.action in (None, "metadata"):
            self.http_method_not_allowed(request)
        self._admit(request, membership)
        self.membership = membership
        activate(membership.organization_id)
        token = request.auth
        who = membership.user.email
        label = f"token {token.prefix}… ({token.name}) of {who}" if isinstance(token, ApiToken) else who
        audit.become(audit.Actor(label, membership.user, client_address(request)))
        _refuse_unknown_parameters(self)

    def _membership(self, request: Request) -> Membership | None:
        if isinstance(request.auth, ApiToken):
            token = request.auth
            return token.membership if token.organization.slug == self.kwargs["slug"] else None
        return membership_in(request.user, self.kwargs["slug"]) if isinstance(request.user, User) else None

    def _limits(self, request: Request, membership: Membership | None) -> list[throttles.Limit]:
        caller = request.auth.pk if isinstance(request.auth, ApiToken) else request.user.pk
        found = [throttles.Limit("caller", str(caller))]
        if membership is not None:
            names = ["organization", *([self.limits[self.action]] if self.action in self.limits else [])]
            found += [throttles.Limit(name, str(membership.organization_id)) for name in names]
        return found

    def _admit(self, request: Request, membership: Membership) -> None:
        """Raises PermissionDenied, SecondFactorMissing, MissingScope, Conflict unless the action is allowed now."""
        if lacks_second_factor(membership):
            raise SecondFactorMissing(SECOND_FACTOR_WORDS)
        permission = self.permissions[self.action]
        if not membership.role_allows(permission):
            raise PermissionDenied(f"Your role ({membership.get_role_display()}) does not allow this.")
        if not membership.allows(permission):
            raise MissingScope(f"This token lacks the scope “{permission}”.", scope=permission)
        if told := why_closed(membership, permission, request.method):
            raise Conflict(told)

    def _run_action(self) -> Any:
        key = self.request.headers.get(idempotency.HEADER)
        if self.request.method == "POST" and key is not None:
            return idempotency.once(self, key, self._run_conditionally)
        return self._run_conditionally()

    def _run_conditionally(self) -> Any:
        """What the action answers: with `If-Match`, in one transaction with the check of it."""
        act = getattr(self, self.action)
        given = self.request.headers.get("If-Match")
        if given is None or self.request.method in etags.READING:
            return etags.tagged(self, act(self.request, *self.args, **self.kwargs))
        if self.action in self.commits_midway:
            with transaction.atomic():
                etags.demand_match(self, given)
            return etags.tagged(self, act(self.request, *self.args, **self.kwargs))
        with transaction.atomic():
            etags.demand_match(self, given)
            return etags.tagged(self, act(self.request, *self.args, **self.kwargs))


def _refuse_other_charsets(request: Request) -> None:
    encoding = request.encoding
    if encoding and codecs.lookup(encoding).name not in ("utf-8", "ascii"):
        raise UnsupportedMediaType(request.content_type, f"Send bodies in UTF-8, not in {encoding[:40]}.")


def _refuse_unknown_parameters(view: OrganizationViewSet) -> None:
    unknown = set(view.request.query_params) - (known := query_parameters(view))
    if unknown:
        names = f"Known here are: {', '.join(sorted(known))}." if known else "None are known here."
        raise ValidationError(dict.fromkeys(sorted(unknown), f"There is no such parameter. {names}"))
