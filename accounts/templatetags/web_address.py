"""Links to addresses that somebody else chose: a platform, an archive."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def web_address(value: str) -> str:
    """The address if it leads to the web, else nothing: what another server calls a link may be `javascript:`."""
    return value if value.startswith(("https://", "http://")) else ""
