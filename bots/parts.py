"""Parts of a bot's pages that higher rooms fill in, so that they are there when the page is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from accounts.models import Membership
from bots.models import Bot

VERDICT: list[Callable[[Bot, Membership], Mapping[str, Any]]] = []
"""Context of training/_lift_panel.html: whether a bot is getting better, as a member sees it."""
