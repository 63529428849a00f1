"""What leaves with an organization, and what becomes of it elsewhere.

Every tenant-owned model is registered here by its room (`portability.py` of each app, from its `ready()`): which of its
columns never leave, which files belong to a row, and what makes a row safe in another installation. A model that
nobody registered stops an export: what must not leave is decided by people, not by a default.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, BinaryIO

from django.apps import apps
from django.db import models

from accounts.tenancy import TenantModel

FORMAT = 1
"""Of the archive; an import refuses every other one."""
MANIFEST = "manifest.json"
CHUNK = 1024 * 1024
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ImportRefused(Exception):
    """An archive that is not taken; the message says what is wrong and what to do."""


@dataclass
class Passage:
    """One import. Every id becomes another one, always the same for the same old one, so that two copies of one
    organization can live side by side, and a row that points to a stranger's row points to nothing instead.

    `known`: the archive's ids; a text in JSON that is one of them is a reference. `serials`: of models whose ids are
    numbers, by label: old → new.
    """

    space: uuid.UUID = field(default_factory=uuid.uuid4)
    known: set[int] = field(default_factory=set)
    serials: dict[str, dict[int, int]] = field(default_factory=dict)

    def id(self, old: uuid.UUID) -> uuid.UUID:
        return uuid.uuid5(self.space, str(old))

    def key(self, old: str) -> str:
        """32 hexadecimal digits in place of a key that is unique in a whole installation."""
        return uuid.uuid5(self.space, f"key {old}").hex

    def value(self, old: Any) -> Any:
        """JSON with every reference to a row of the archive followed."""
        if isinstance(old, str):
            return self._text(old)
        if isinstance(old, list):
            return [self.value(item) for item in old]
        if isinstance(old, dict):
            return {self._text(name): self.value(item) for name, item in old.items()}
        return old

    def named(self, model_name: str, old: str) -> str:
        """The new id of the object that an audit line names by the name of its model and its id."""
        for label, numbers in self.serials.items():
            if label.rpartition(".")[2].lower() == model_name and old.isdecimal() and len(old) < 19:
                return str(numbers.get(int(old), old))
        return self._text(old)

    def _text(self, old: str) -> str:
        if len(old) == 36 and _ID.fullmatch(old) and uuid.UUID(old).int in self.known:
            return str(self.id(uuid.UUID(old)))
        return old


@dataclass(frozen=True)
class Folder:
    """Files that belong to a row besides its FileFields. `listing` gives (name, name in the storage) of each; `place`
    the name in the storage for one that arrives, and raises ImportRefused for a name that may not be there.
    """

    listing: Callable[[Any], Iterable[tuple[str, str]]]
    place: Callable[[Any, str], str]


@dataclass(frozen=True)
class Treatment:
    """How one model travels.

    `never`: columns that do not leave. `stays`: why its rows do not leave at all. `ends_here`: why its rows leave, and
    are not imported. `arrive` makes a row safe before it is stored; `check_file` looks at one of its files (row, name,
    stream, SHA-256); both raise ImportRefused. `finish` runs once everything is there.
    """

    never: frozenset[str] = frozenset()
    stays: str = ""
    ends_here: str = ""
    folder: Folder | None = None
    arrive: Callable[[Any, Passage], None] | None = None
    check_file: Callable[[Any, str, BinaryIO, str], None] | None = None
    finish: Callable[[], None] | None = None


_treatments: dict[str, Treatment] = {}


def register(*labels: str, treatment: Treatment | None = None) -> None:
    """Say how models travel, by their labels ("bots.Post"); without a treatment whole and as they are."""
    for label in labels:
        _treatments[label] = treatment or Treatment()


def treatment_of(model: type[models.Model]) -> Treatment:
    """Raises LookupError for a model that nobody registered."""
    try:
        return _treatments[model._meta.label]
    except KeyError:
        raise LookupError(
            f"{model._meta.label} is not registered for exports: say in its room's portability.py how it travels."
        ) from None


def tenant_models() -> list[type[TenantModel]]:
    return [model for model in apps.get_models() if issubclass(model, TenantModel)]


def leaving() -> list[type[TenantModel]]:
    """The models whose rows leave."""
    return [model for model in tenant_models() if not treatment_of(model).stays]


def arriving() -> list[type[TenantModel]]:
    """The models whose rows are imported, each after those whose numbered rows it points to, the audit log last."""
    wanted = [model for model in leaving() if not treatment_of(model).ends_here]
    ordered: list[type[TenantModel]] = []

    def place(model: type[TenantModel]) -> None:
        if model in ordered or model not in wanted:
            return
        for target in numbered_targets(model):
            place(target)
        ordered.append(model)

    for model in sorted(wanted, key=lambda model: model._meta.label == "accounts.AuditEntry"):
        place(model)
    return ordered


def numbered_targets(model: type[TenantModel]) -> list[Any]:
    return [
        column.related_model
        for column in columns_of(model)
        if isinstance(column, models.ForeignKey) and not isinstance(column.target_field, models.UUIDField)
    ]


def columns_of(model: type[models.Model]) -> list[Any]:
    """The fields that leave. Whose row it is, the archive as a whole says."""
    hidden = treatment_of(model).never | {"organization"}
    return [column for column in model._meta.local_concrete_fields if column.name not in hidden]


def line_of(values: dict[str, Any]) -> bytes:
    """A row as one line of JSON."""
    plain = {name: _plain(value) for name, value in values.items()}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), default=str).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, uuid.UUID | Decimal) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value
