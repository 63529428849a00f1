"""What no platform takes as text."""

from __future__ import annotations

import re

_HALF = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def unsendable(text: str) -> str:
    """Why this text cannot be sent anywhere as it is, for its author; empty when it can."""
    if found := _HALF.search(text):
        return f"The text holds half of a character at position {found.start() + 1}: delete it and write it again."
    if found := _CONTROL.search(text):
        return f"The text holds an invisible control character at position {found.start() + 1}: delete it."
    return ""
