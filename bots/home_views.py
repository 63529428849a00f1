"""The home of an organization."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render

from accounts.access import OrganizationRequest, organization_page
from bots import home
from bots.services import needs_human


@organization_page("bot_view")
def index(request: OrganizationRequest) -> HttpResponse:
    """What needs a person, the first steps until all are done, and the bots, a page at a time."""
    can, asked = request.membership.can, request.GET.get("page", "")
    page = max(1, int(asked[:6])) if asked.isascii() and asked.isdigit() else 1
    bots, more = home.bots_of_page(page)
    newest = max(bots, key=lambda bot: bot.created_at) if bots else None
    unsettled = needs_human.waiting() if can["post_approve"] else 0
    context = {
        "cards": home.cards(bots),
        "needs": home.needs(request.organization, can, unsettled),
        "steps": home.first_steps(request.organization, can, newest),
        "needs_human_count": unsettled,
        "any_bots": bool(bots) or page > 1,
        "previous_url": f"?page={page - 1}" if page > 1 else "",
        "next_url": f"?page={page + 1}" if more else "",
        "most_waiting": home.MOST_WAITING,
        "most_published": home.MOST_PUBLISHED,
    }
    return render(request, "bots/home.html", context)
