"""Pages of replies: what a bot saw and what became of it, one of those with its candidates, and the rules."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render

from accounts.access import OrganizationRequest, organization_page
from bots import queries
from bots.models import Bot, Incoming
from bots.reply_forms import ReplyRulesForm
from bots.services import replies
from bots.views import add_errors, bot_context, bot_or_404

PAGE = 25


@organization_page("post_view")
def reply_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    wanted = request.GET.get("state", "")
    state = wanted if wanted in Incoming.State.values else ""
    seen = Incoming.objects.filter(bot=bot).select_related("answer")
    page = Paginator(seen.filter(state=state) if state else seen, PAGE).get_page(request.GET.get("page"))

    def url(number: int) -> str:
        return "?" + urlencode({"state": state, "page": number})

    context = bot_context(bot, "replies") | {
        "rules": replies.rules_of(bot),
        "can_answer": bot.connection.capabilities.can_reply,
        "seen": page.object_list,
        "filters": _filters(bot, state),
        "filtered": bool(state),
        "previous_url": url(page.previous_page_number()) if page.has_previous() else "",
        "next_url": url(page.next_page_number()) if page.has_next() else "",
    }
    return render(request, "bots/replies.html", context)


def _filters(bot: Bot, state: str) -> list[dict[str, Any]]:
    rows = Incoming.objects.filter(bot=bot).order_by().values("state").annotate(count=Count("pk"))
    counts = {row["state"]: row["count"] for row in rows}
    filters = [{"value": "", "label": "All", "count": sum(counts.values()), "current": not state}]
    return filters + [
        {"value": value, "label": label, "count": counts.get(value, 0), "current": value == state}
        for value, label in Incoming.State.choices
    ]


@organization_page("post_view")
def reply_detail(request: OrganizationRequest, bot_id: UUID, incoming_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    incoming = Incoming.objects.filter(bot=bot, pk=incoming_id).select_related("answer").first()
    if incoming is None:
        raise Http404
    answer = queries.posts_of(bot).filter(pk=incoming.answer_id).first() if incoming.answer_id else None
    context = bot_context(bot, "replies") | {
        "incoming": incoming,
        "candidates": incoming.candidates.all(),
        "post": queries.post_card(bot, answer, request.organization.slug) if answer else None,
        "account": bot.connection.account or bot.connection.name,
    }
    return render(request, "bots/replies_detail.html", context)


@organization_page("bot_edit")
def reply_rules(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = ReplyRulesForm(request.POST or None, can=bot.connection.capabilities, instance=replies.rules_of(bot))
    if request.method == "POST" and form.is_valid():
        try:
            replies.change_rules(bot, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "Saved.")
            return redirect("bots:replies", request.organization.slug, bot.pk)
    context = bot_context(bot, "replies") | {"form": form, "unasked": "communities" in form.fields}
    return render(request, "bots/replies_rules.html", context, status=400 if form.errors else 200)
