"""Pages of lists over the API. (A module of its own: DRF imports it while it loads its views.)

A cursor holds where a page ended: the values of the fields that the list is ordered by, with the row's id as the last
of them, so that no two rows share a place. The next page is what lies beyond that place in the order, found by an
index however far along it is. NULL counts as greater than everything, as in PostgreSQL's indexes.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.db.models import Q
from django.utils.timezone import is_aware
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from accounts.moments import in_utc

ORDERING = "ordering"


@dataclass(frozen=True)
class Place:
    """Between two rows: after (or, `backwards`, before) the row with these values of the ordering's fields."""

    values: list[Any]
    backwards: bool = False


class NewestFirst(CursorPagination):
    """Pages by cursor, in the order that the view's `ordering` or the request's says, else newest first. Rows that
    arrive meanwhile neither repeat nor hide any.
    """

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200
    ordering: Any = ("-created_at", "-pk")

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """One page of the rows. Raises ValidationError for a size, an ordering or a cursor that makes no sense."""
        self.address = request.build_absolute_uri()
        self.page_size = self.get_page_size(request)
        self.order = _Order(queryset, self._asked(request, view))
        place = self._place(request)
        backwards = bool(place and place.backwards)
        if place:
            queryset = queryset.filter(self.order.beyond(place))
        # One row more than the page tells whether another page follows.
        rows = list(queryset.order_by(*self.order.expressions(backwards))[: self.page_size + 1])
        more, rows = len(rows) > self.page_size, rows[: self.page_size]
        if backwards:
            rows.reverse()
        self.has_next = bool(rows) and (backwards or more)
        self.has_previous = bool(rows) and (more if backwards else place is not None)
        self.ends = [self.order.values(row) for row in rows[:1] + rows[-1:]]
        return rows

    def get_page_size(self, request: Request) -> int:
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return self.page_size
        if not (asked.isascii() and asked.isdigit() and int(asked[:20])):
            message = f"Send a whole number from 1 to {self.max_page_size}."
            raise ValidationError({self.page_size_query_param: message})
        return min(int(asked[:20]), self.max_page_size)

    def get_next_link(self) -> str | None:
        return self._link(Place(self.ends[-1])) if self.has_next else None

    def get_previous_link(self) -> str | None:
        return self._link(Place(self.ends[0], backwards=True)) if self.has_previous else None

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] = {"type": "integer", "minimum": 1, "default": self.page_size}
                parameter["description"] = f"Rows on a page; more than {self.max_page_size} count as so many."
            else:
                parameter["description"] = "Where a page begins: from `next` or `previous` of another page."
        if fields := _of_list(view, "ordering_fields"):
            choices = [sign + name for name in fields for sign in ("", "-")]
            parameters.append(
                {
                    "name": ORDERING,
                    "required": False,
                    "in": "query",
                    "description": "Field to order by, with `-` in front the other way round; null is the greatest.",
                    "schema": {"type": "string", "enum": choices},
                }
            )
        return parameters

    def _asked(self, request: Request, view: Any) -> tuple[str, ...]:
        asked = request.query_params.get(ORDERING)
        if asked is None:
            own = _of_list(view, "ordering") or self.ordering
            return (own,) if isinstance(own, str) else tuple(own)
        allowed = _of_list(view, "ordering_fields")
        if asked.removeprefix("-") not in allowed:
            names = ", ".join(allowed) or "none"
            raise ValidationError({ORDERING: f"Order by one of these, with “-” in front for descending: {names}."})
        return (asked,)

    def _place(self, request: Request) -> Place | None:
        """Where the request's cursor points; None without one."""
        cursor = request.query_params.get(self.cursor_query_param)
        if cursor is None:
            return None
        try:
            order, backwards, values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if order != self.order.name or not isinstance(backwards, bool):
                raise ValueError("made for another ordering")
            return Place(self.order.restored(values), backwards)
        except (ValueError, TypeError, OverflowError, RecursionError, ValidationError):
            message = "This cursor is damaged, or of a list with another ordering. Begin without one."
            raise exceptions.ValidationError({self.cursor_query_param: message}) from None

    def _link(self, place: Place) -> str:
        token = json.dumps([self.order.name, place.backwards, self.order.stored(place.values)], separators=(",", ":"))
        cursor = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
        return str(replace_query_param(self.address, self.cursor_query_param, cursor))


def _of_list(view: Any, name: str) -> tuple[str, ...]:
    """What a view says of its list; its other pages are of something else."""
    return tuple(getattr(view, name, None) or ()) if getattr(view, "action", None) == "list" else ()


class _Order:
    """An ordering by fields of the rows; its last field is the primary key."""

    def __init__(self, queryset: models.QuerySet[Any], names: tuple[str, ...]) -> None:
        if names[-1].removeprefix("-") != "pk":
            names = (*names, "-pk" if names[-1].startswith("-") else "pk")
        self.name = ",".join(names)
        self.terms = [(name.removeprefix("-"), name.startswith("-")) for name in names]
        self.fields = [_field(queryset, name) for name, _ in self.terms]

    def expressions(self, backwards: bool) -> list[str]:
        return [f"-{name}" if descending != backwards else name for name, descending in self.terms]

    def values(self, row: Any) -> list[Any]:
        return [getattr(row, name) for name, _ in self.terms]

    def stored(self, values: list[Any]) -> list[Any]:
        """Values as JSON."""
        return [value if value is None or isinstance(value, bool | int | float) else _text(value) for value in values]

    def restored(self, values: Any) -> list[Any]:
        """The values that `stored` was given. Raises ValueError, TypeError, ValidationError."""
        if not isinstance(values, list) or len(values) != len(self.terms):
            raise ValueError("another number of fields")
        return [_restored(value, field) for value, field in zip(values, self.fields, strict=True)]

    def beyond(self, place: Place) -> Q:
        """Rows after the place in the order: greater in the first field, or equal there and greater in the next, …"""
        found, equal = Q(pk__in=[]), Q()
        for (name, descending), field, value in zip(self.terms, self.fields, place.values, strict=True):
            found |= equal & _past(name, value, falling=descending != place.backwards, nullable=_nullable(field))
            equal &= Q(**{f"{name}__isnull": True}) if value is None else Q(**{name: value})
        return found & self._bound(place)

    def _bound(self, place: Place) -> Q:
        """What all rows beyond have in common, for the index: PostgreSQL does not find it in the alternatives."""
        (name, descending), value = self.terms[0], place.values[0]
        if value is None:
            return Q()
        if descending != place.backwards:
            return Q(**{f"{name}__lte": value})
        return Q(**{f"{name}__gte": value}) | (Q(**{f"{name}__isnull": True}) if _nullable(self.fields[0]) else Q())


def _nullable(field: Any) -> bool:
    return bool(field.null or field.model is None)  # an annotation's field knows nothing of NULLs


def _past(name: str, value: Any, *, falling: bool, nullable: bool) -> Q:
    """Whether a field is beyond a value, where NULL is the greatest."""
    if falling:
        return Q(**{f"{name}__isnull": False}) if value is None else Q(**{f"{name}__lt": value})
    if value is None:
        return Q(pk__in=[])
    return Q(**{f"{name}__gt": value}) | (Q(**{f"{name}__isnull": True}) if nullable else Q())


def _field(queryset: models.QuerySet[Any], name: str) -> Any:
    """The field of a model or the output field of an annotation."""
    if name == "pk":
        return queryset.model._meta.pk
    try:
        return queryset.model._meta.get_field(name)
    except FieldDoesNotExist:
        return queryset.query.annotations[name].output_field


def _restored(value: Any, field: Any) -> Any:
    if isinstance(value, list | dict):
        raise TypeError("no value of a field")
    if isinstance(value, str) and b"\0" in value.encode():  # which refuses halves of surrogate pairs
        raise ValueError("no text of the database")
    found = None if value is None else field.to_python(value)
    return in_utc(found) if isinstance(found, datetime) and is_aware(found) else found


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
