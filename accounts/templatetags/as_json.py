"""Data for scripts."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.core.serializers.json import DjangoJSONEncoder

register = template.Library()


@register.filter
def as_json(value: Any) -> str:
    """JSON as text of an element, escaped like any other: the policy against inline scripts needs no exception."""
    return json.dumps(value, cls=DjangoJSONEncoder)
