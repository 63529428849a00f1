"""What a report of a post may be about, for its form."""

from __future__ import annotations

from django import template

from bots.models import Report

register = template.Library()


@register.simple_tag
def report_categories() -> list[tuple[str, str]]:
    """(value, label) of every category."""
    return [(category.value, str(category.label)) for category in Report.Category]
