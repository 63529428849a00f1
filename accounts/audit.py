"""The audit log: every write that a service does leaves one line here, with who did it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import models

from accounts.models import AuditEntry, User

LONGEST = 500
"""Characters of a text that a line keeps."""
LONGEST_ACTOR = 200


@dataclass(frozen=True)
class Actor:
    """Who is acting: a person, a program with a token, or a process of Kilroy (`user=None`)."""

    label: str
    user: User | None = None
    address: str | None = None


SYSTEM = Actor("kilroy")
_acting: ContextVar[Actor] = ContextVar("acting", default=SYSTEM)


def actor() -> Actor:
    return _acting.get()


@contextmanager
def acting(who: Actor) -> Iterator[None]:
    """Within the block, audit lines carry this actor."""
    token = _acting.set(who)
    try:
        yield
    finally:
        _acting.reset(token)


def become(who: Actor) -> None:
    """Set the actor until a surrounding `acting()` block ends (for code that learns who it serves half-way, like an
    API view).
    """
    _acting.set(who)


def record(
    action: str, on: models.Model, *, before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None
) -> AuditEntry:
    """Add a line for the active organization: `action` is "object.verb", `before` and `after` what changed (never a
    credential). Long texts are shortened, with their length behind.
    """
    entry = _entry(action, on, before or {}, after or {})
    entry.save(force_insert=True)
    return entry


def record_all(action: str, lines: Iterable[tuple[models.Model, Mapping[str, Any], Mapping[str, Any]]]) -> None:
    """Add a line for each object (with its `before` and `after`), in one statement. See `record`."""
    AuditEntry.objects.bulk_create(_entry(action, on, before, after) for on, before, after in lines)


def _entry(action: str, on: models.Model, before: Mapping[str, Any], after: Mapping[str, Any]) -> AuditEntry:
    who = actor()
    return AuditEntry(
        actor=who.label[:LONGEST_ACTOR],
        user=who.user,
        address=who.address,
        action=action,
        object_type=str(on._meta.model_name),
        object_id=str(on.pk),
        before=_kept(dict(before)),
        after=_kept(dict(after)),
    )


def _kept(value: Any) -> Any:
    """A value as a line keeps it: JSON, no text longer than `LONGEST`."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}… ({len(value):,} characters)"
    if isinstance(value, Mapping):
        return {str(name): _kept(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_kept(each) for each in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID | Decimal | models.Model) else value
