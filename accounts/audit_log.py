"""Reading the audit log: narrowing it, what a line changed, where its object's page is, and all of it as a file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Model, Q, QuerySet
from django.urls import reverse

from accounts import keyset
from accounts.csv_out import csv_blocks
from accounts.keyset import Cursor, Page
from accounts.models import ApiToken, AuditEntry, Invitation, Membership, Organization
from accounts.streamed import rows_of

Finder = Callable[[str, Sequence[str]], dict[str, str]]
_finders: dict[str, Finder] = {}
COLUMNS = ("at", "actor", "user", "address", "action", "object_type", "object_id", "before", "after")


@dataclass(frozen=True)
class Change:
    """What a line says of one name: `kind` is "changed", "added", "removed" or "same"."""

    name: str
    before: str
    after: str
    kind: str


def register_page(model: type[Model], view: str, *path: str) -> None:
    """Say where the page of a model's rows is: a view, and the row's fields that follow the slug in its address."""

    def find(slug: str, ids: Sequence[str]) -> dict[str, str]:
        rows = model._default_manager.filter(pk__in=ids).values_list("pk", *path)
        return {str(pk): reverse(view, args=[slug, *rest]) for pk, *rest in rows}

    assert model._meta.model_name is not None  # no model is without
    _finders[model._meta.model_name] = find


def entries(
    *, actor: str = "", action: str = "", about: str = "", since: date | None = None, until: date | None = None
) -> QuerySet[AuditEntry]:
    """The active organization's lines: by a part of the actor's name, by an action ("bot.create") or all of a kind
    ("bot"), about objects of a type or the one with this id, from the day `since` to the day `until` (UTC).
    """
    found: QuerySet[AuditEntry] = AuditEntry.objects.all()
    if actor:
        found = found.filter(actor__icontains=actor)
    if action:
        found = found.filter(of_action(action))
    if about:
        found = found.filter(Q(object_id=about) | Q(object_type=about))
    if since:
        found = found.filter(at__gte=datetime.combine(since, time.min, UTC))
    if until:
        found = found.filter(at__lt=datetime.combine(until + timedelta(days=1), time.min, UTC))
    return found


def of_action(action: str) -> Q:
    """The action of that name, and all that begin with it and a dot."""
    return Q(action=action) | Q(action__startswith=f"{action}.")


def pages_of(lines: Iterable[AuditEntry], slug: str) -> dict[int, str]:
    """Line → address of its object's page, for those whose object is still there."""
    ids: dict[str, list[str]] = defaultdict(list)
    lines = list(lines)
    for line in lines:
        if line.object_type in _finders:
            ids[line.object_type].append(line.object_id)
    pages = {kind: _finders[kind](slug, found) for kind, found in ids.items()}
    return {line.pk: page for line in lines if (page := pages.get(line.object_type, {}).get(line.object_id))}


def changes(line: AuditEntry) -> list[Change]:
    """What a line changed, name by name; names within names are joined by dots."""
    before, after = dict(_flat(line.before)), dict(_flat(line.after))
    return [_change(name, before, after) for name in dict.fromkeys([*before, *after])]


def _change(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    kind = "removed" if name not in after else "added" if name not in before else "changed"
    if kind == "changed" and before[name] == after[name]:
        kind = "same"
    return Change(name, _shown(before.get(name)), _shown(after.get(name)), kind)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_shown(each) for each in value) or "–"
    return str(value) if not isinstance(value, Mapping) else json.dumps(value, ensure_ascii=False)


def as_csv(found: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """The lines as CSV, oldest first, `before` and `after` as JSON."""
    return csv_blocks(COLUMNS, (_cells(line) for line in rows_of(found)))


def as_json_lines(found: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """The lines as JSON Lines, oldest first."""
    return (_json(line) for line in rows_of(found))


def _json(line: AuditEntry) -> bytes:
    return json.dumps(dict(zip(COLUMNS, _values(line), strict=True)), ensure_ascii=False).encode() + b"\n"


def _cells(line: AuditEntry) -> list[Any]:
    return [json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value for value in _values(line)]


def _values(line: AuditEntry) -> list[Any]:
    user = str(line.user_id) if line.user_id else None
    at = line.at.astimezone(UTC).isoformat()
    return [
        at,
        line.actor,
        user,
        line.address,
        line.action,
        line.object_type,
        line.object_id,
        line.before,
        line.after,
    ]


def parsed_cursor(text: str) -> Cursor:
    """Raises ValidationError for what is no cursor."""
    return keyset.parsed_cursor(text, AuditEntry)


def page(found: QuerySet[AuditEntry], cursor: Cursor | None, size: int = 50) -> Page[AuditEntry]:
    """One page of the lines."""
    return keyset.page(found, cursor, "at", size)


register_page(Organization, "accounts:settings")
register_page(Membership, "accounts:members")
register_page(Invitation, "accounts:members")
register_page(ApiToken, "accounts:tokens")
