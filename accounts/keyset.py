"""Pages of lists on pages: newest first, by a moment and the row's id, found by an index however far along they are.
Rows that are added meanwhile neither repeat nor hide any. (Those of the API are accounts/pagination.py.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

M = TypeVar("M", bound=Model)
DAMAGED = "This address is damaged: begin with the newest lines."


@dataclass(frozen=True)
class Cursor:
    """Between two rows: the older (or, `newer`, the newer) ones than the row of this moment and id."""

    at: datetime
    pk: Any
    newer: bool = False

    def __str__(self) -> str:
        return f"{'newer' if self.newer else 'older'}~{self.at.isoformat()}~{self.pk}"


@dataclass(frozen=True)
class Page(Generic[M]):
    """Rows, newest first, and the cursors of the pages on either side."""

    rows: list[M]
    newer: Cursor | None
    older: Cursor | None

    def urls(self, query: Mapping[str, Any] | None = None) -> dict[str, str]:
        """What the pager shows; `query` is what the list is narrowed to."""
        return {
            "previous_url": f"?{urlencode({**(query or {}), 'page': self.newer})}" if self.newer else "",
            "next_url": f"?{urlencode({**(query or {}), 'page': self.older})}" if self.older else "",
        }


def parsed_cursor(text: str, model: type[Model]) -> Cursor:
    """Raises ValidationError for what is no cursor of the model's rows."""
    try:
        side, at, pk = text.split("~")
        cursor = Cursor(datetime.fromisoformat(at), model._meta.pk.to_python(pk), {"newer": True, "older": False}[side])
    except (ValueError, KeyError, ValidationError):
        raise ValidationError(DAMAGED) from None
    if cursor.at.tzinfo is None or (isinstance(cursor.pk, int) and not 0 <= cursor.pk < 2**63):
        raise ValidationError(DAMAGED)
    return cursor


def page(found: QuerySet[M], cursor: Cursor | None, moment: str = "created_at", size: int = 50) -> Page[M]:
    """One page of the rows, by the field `moment`, which is never null."""
    upwards = cursor is not None and cursor.newer
    if cursor is not None:
        side = "gt" if upwards else "lt"
        # The first says to the index what the alternatives have in common.
        found = found.filter(**{f"{moment}__{side}e": cursor.at})
        found = found.filter(Q(**{f"{moment}__{side}": cursor.at}) | Q(**{moment: cursor.at, f"pk__{side}": cursor.pk}))
    # One more than the page tells whether another follows.
    rows = list(found.order_by(*((moment, "pk") if upwards else (f"-{moment}", "-pk")))[: size + 1])
    more, rows = len(rows) > size, rows[:size]
    if upwards:
        rows.reverse()
    if not rows:
        return Page([], None, None)
    newer = Cursor(getattr(rows[0], moment), rows[0].pk, newer=True)
    older = Cursor(getattr(rows[-1], moment), rows[-1].pk)
    return Page(rows, newer if (more if upwards else cursor) else None, older if (upwards or more) else None)
