"""What the operator's panel needs beyond what django-unfold draws."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

LANDMARKS = {
    'id="nav-sidebar"': 'role="region" aria-label="Sidebar"',
    'id="nav-sidebar-apps"': 'data-simplebar-aria-label="Menu"',
    'id="main"': 'role="main"',
}
"""A part of django-unfold's page → what makes it a place that a screen reader can go to, by name."""


@register.filter
def with_landmarks(page: SafeString) -> SafeString:
    """The page's body with its parts marked as landmarks, which django-unfold leaves to whoever draws them."""
    found: str = page
    for part, marks in LANDMARKS.items():
        found = found.replace(part, f"{part} {marks}", 1)
    return mark_safe(found)  # nosec B308 B703 # rendered by its own template; only our words were added
