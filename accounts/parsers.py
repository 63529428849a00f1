"""Bodies of API requests: JSON of a bounded size that the database can hold. (A module of its own, without the API's
problems: DRF imports it while it loads its views.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.utils import json as strict_json

BIGGEST = 2**63
"""Whole numbers are below this, in both directions: what the database's widest integer holds."""


class StrictJSONParser(JSONParser):
    """JSON in UTF-8, without what would break further in: NUL characters, halves of surrogate pairs, numbers beyond
    64 bits or beyond every bound, nesting without end.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The parsed body. Raises ParseError, ValidationError by field, RequestDataTooBig."""
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raw = stream.read(most + 1)
        if len(raw) > most:
            raise RequestDataTooBig("a JSON body")
        try:
            value = json.loads(raw.decode(), parse_constant=strict_json.strict_constant)
            troubles = _troubles(value)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None
        except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
            raise ParseError(f"The body is not the JSON that this takes: {error}.") from None
        if troubles:
            raise ValidationError(troubles)
        return value


def _troubles(value: Any) -> dict[str, str]:
    """What the database cannot hold, by field. Raises ValueError where that is in no field."""
    if not isinstance(value, dict):
        _check(value)
        return {}
    found = {}
    for name, part in value.items():
        _check(name)
        try:
            _check(part)
        except ValueError as error:
            found[name] = f"This cannot be kept: {error}."
    return found


def _check(value: Any) -> None:
    """Raises ValueError for what JSON allows and the database does not."""
    if isinstance(value, dict):
        for name, part in value.items():
            _check(name)
            _check(part)
    elif isinstance(value, list):
        for part in value:
            _check(part)
    elif isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text holds a NUL character")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a surrogate pair") from None
    elif isinstance(value, int):
        if abs(value) >= BIGGEST:
            raise ValueError("a whole number needs more than 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
