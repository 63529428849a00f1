"""Versions of objects: `ETag` on what is read, `If-None-Match` to read only what is new, `If-Match` to change only
what one has seen (RFC 9110, 8.8.3 and 13.1).

A tag is the hash of the object as GET shows it, so that it changes with whatever a reader would see, and needs no
column. `If-Match` is checked while the object's row is locked, in the transaction that then changes it: of two editors
who saw the same version, one is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.utils.http import parse_etags
from rest_framework.exceptions import ParseError
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.utils.serializer_helpers import ReturnDict

from accounts.models import Organization
from accounts.problems import PreconditionFailed
from accounts.tenancy import TenantModel

if TYPE_CHECKING:
    from accounts.api import OrganizationViewSet

READING = ("GET", "HEAD")


def tag_of(data: Any, untagged: Collection[str] = ()) -> str:
    """The tag of a representation, without the fields `untagged`."""
    if isinstance(data, Mapping):
        data = {name: value for name, value in data.items() if name not in untagged}
    return f'"{hashlib.sha256(JSONRenderer().render(data)).hexdigest()[:32]}"'


def tagged(view: OrganizationViewSet, response: Any) -> Any:
    """The answer with its tag, where it is a representation of an object; or 304 without it, when the client has it
    already.
    """
    if 200 <= response.status_code < 300 and not response.has_header("ETag") and _shows_object(view, response):
        response["ETag"] = tag_of(response.data, view.untagged)
    given = view.request.headers.get("If-None-Match")
    if view.request.method in READING and given and response.status_code == 200 and response.has_header("ETag"):
        tags = [each.removeprefix("W/") for each in parse_etags(given)]
        if "*" in tags or response["ETag"].removeprefix("W/") in tags:
            return Response(status=304, headers={"ETag": response["ETag"]})
    return response


def demand_match(view: OrganizationViewSet, given: str) -> None:
    """Lock the object of this request until the transaction ends. Raises PreconditionFailed unless its tag is among
    those given, and ParseError where the address is of no single object.
    """
    shown = _reader(view)
    _lock(view)
    tag = tag_of(shown().data, view.untagged)
    tags = parse_etags(given)
    if "*" not in tags and tag not in tags:
        raise PreconditionFailed


def _shows_object(view: OrganizationViewSet, response: Any) -> bool:
    if not isinstance(response, Response) or response.data is None:
        return False
    if view.request.method in READING:
        return view.action != "list" or view.paginator is None
    # What an action answers may be something else, like what came of a check: no version of the object.
    return isinstance(response.data, ReturnDict) and type(response.data.serializer) is type(view).serializer_class


def _reader(view: OrganizationViewSet) -> Any:
    """What GET of the request's object does, as a function without arguments."""
    if _is_detail(view):
        name = "retrieve"
    elif view.paginator is None and "get" in view.action_map:
        name = view.action_map["get"]
    else:
        raise ParseError("If-Match is for requests to a single object; leave it out here.")
    # A view of its own: an @action may have put other serializers and filters into this one.
    fresh = type(view)(basename=view.basename, detail=view.detail)
    fresh.request, fresh.args, fresh.kwargs, fresh.format_kwarg = view.request, view.args, view.kwargs, None
    fresh.membership, fresh.action_map, fresh.action = view.membership, view.action_map, name
    if not hasattr(fresh, name):
        return lambda: Response(fresh.get_serializer(fresh.get_object()).data)
    return lambda: getattr(fresh, name)(view.request, *view.args, **view.kwargs)


def _is_detail(view: OrganizationViewSet) -> bool:
    return (view.lookup_url_kwarg or view.lookup_field) in view.kwargs


def _lock(view: OrganizationViewSet) -> None:
    row = view.get_object() if _is_detail(view) else None
    if isinstance(row, TenantModel) and row.pk is not None:  # not a default that nobody has stored
        type(row).locked(row.pk)
    else:
        Organization.objects.select_for_update(no_key=True).get(pk=view.membership.organization_id)
