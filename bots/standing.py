"""Sanctions in force, as the pages of an organization show them."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from accounts import clock
from bots.models import Bot, Sanction


def sanctions_in_force(bot: Bot | None = None) -> QuerySet[Sanction]:
    """The sanctions that hold now for the active organization and its bots; with a bot, those that touch it."""
    holding = Sanction.objects.filter(Q(until=None) | Q(until__gt=clock.now()), lifted_at=None)
    if bot is not None:
        holding = holding.filter(Q(bot=bot) | Q(bot=None))
    return holding.select_related("bot")
