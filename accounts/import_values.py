"""Values of an archive's rows, checked against the columns that they are for."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any, NoReturn

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.timezone import is_naive

from accounts.exports import ImportRefused, Passage

_ENDING = re.compile(r"file(\.[A-Za-z0-9]{1,10})?")


def value_of(column: Any, told: Any, passage: Passage) -> Any:
    """The value for a column, with references followed. Raises ImportRefused for one that the column cannot hold."""
    if told is None:
        if not column.null:
            _refuse(column, "is empty")
        return None
    if isinstance(column, models.ForeignKey):
        return _reference(column, told, passage)
    if isinstance(column, models.JSONField):
        if column.default is not models.NOT_PROVIDED and not isinstance(told, type(column.get_default())):
            _refuse(column, "has another shape than it must have")
        return passage.value(told)
    try:
        value = _typed(column, told, passage)
        if not isinstance(column, models.FileField | models.UUIDField):
            column.run_validators(value)
    except (ValidationError, ValueError, TypeError, OverflowError):
        _refuse(column, "has a value that it cannot hold")
    if column.choices and value not in dict(column.flatchoices):
        _refuse(column, f"says “{str(value)[:40]}”, which this installation does not know")
    return value


def _reference(column: Any, told: Any, passage: Passage) -> Any:
    if isinstance(column.target_field, models.UUIDField):
        return _uuid(column, told, passage)
    numbers = passage.serials.get(column.related_model._meta.label, {})
    if type(told) is not int or told not in numbers:
        _refuse(column, "points to a row that the archive does not have")
    return numbers[told]


def _uuid(column: Any, told: Any, passage: Passage) -> uuid.UUID:
    try:
        return passage.id(uuid.UUID(told))
    except (ValueError, AttributeError, TypeError):
        _refuse(column, "holds something that is no id")


def _typed(column: Any, told: Any, passage: Passage) -> Any:
    if isinstance(column, models.UUIDField):
        return _uuid(column, told, passage)
    for kinds, accepted in _TYPES:
        if isinstance(column, kinds):
            if not accepted(told):
                raise TypeError
            break
    else:
        raise TypeError(f"No archive has columns like {column}.")
    value = column.to_python(told)
    if isinstance(column, models.DateTimeField) and is_naive(value):
        raise ValueError
    return value


def _text(told: Any) -> bool:
    return isinstance(told, str) and "\0" not in told


def _whole(told: Any) -> bool:
    return type(told) is int and abs(told) < 2**63


def _number(told: Any) -> bool:
    return type(told) in (int, float) or told in ("nan", "inf", "-inf")


def _file(told: Any) -> bool:
    return told == "" or (isinstance(told, str) and _ENDING.fullmatch(told) is not None)


_TYPES: list[tuple[tuple[type[Any], ...], Callable[[Any], bool]]] = [
    ((models.FileField,), _file),
    ((models.BooleanField,), lambda told: isinstance(told, bool)),
    ((models.IntegerField,), _whole),
    ((models.FloatField,), _number),
    (
        (
            models.CharField,
            models.TextField,
            models.DateField,  # and DateTimeField
            models.TimeField,
            models.DecimalField,
            models.GenericIPAddressField,
        ),
        _text,
    ),
]


def _refuse(column: Any, what: str) -> NoReturn:
    raise ImportRefused(
        f"{column.model._meta.label}'s column “{column.attname}” {what} in the archive: it was changed after it was "
        "exported."
    )
