"""Pages of replies: what a bot saw and what became of it, one of those with its candidates, and the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render

from accounts import keyset
from accounts.access import OrganizationRequest, organization_page
from bots import queries, reply_choice
from bots.models import Bot, Incoming, ReplyCandidate
from bots.reply_forms import ReplyRulesForm
from bots.services import replies
from bots.views import add_errors, bot_context, bot_or_404

PAGE = 25
MOST_COUNTED = 2000
"""So many of the newest seen posts are counted by state."""


@organization_page("post_view")
def reply_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    wanted = request.GET.get("state", "")
    state = wanted if wanted in Incoming.State.values else ""
    seen = Incoming.objects.filter(bot=bot).select_related("answer").prefetch_related("candidates")
    try:
        cursor = keyset.parsed_cursor(request.GET["page"], Incoming) if request.GET.get("page") else None
    except ValidationError:
        cursor = None
    page = keyset.page(seen.filter(state=state) if state else seen, cursor, "seen_at", PAGE)
    rules = replies.rules_of(bot)
    context = bot_context(bot, "replies") | page.urls({"state": state})
    context |= {
        "rules": rules,
        "used": replies.used(bot),
        "can_answer": bot.connection.capabilities.can_reply,
        "held": replies.why_held(bot),
        "seen": [{"row": row, "choice": _choice(list(row.candidates.all()))} for row in page.rows],
        "filters": _filters(bot, state),
        "filtered": bool(state),
    }
    return render(request, "bots/replies.html", context)


def _filters(bot: Bot, state: str) -> list[dict[str, Any]]:
    newest = Incoming.objects.filter(bot=bot).order_by("-seen_at").values_list("state", flat=True)[: MOST_COUNTED + 1]
    counts = Counter(newest)
    many = "+" if counts.total() > MOST_COUNTED else ""
    total = min(counts.total(), MOST_COUNTED)
    filters = [{"value": "", "label": "All", "count": f"{total:,}{many}", "current": not state}]
    return filters + [
        {"value": value, "label": label, "count": f"{counts.get(value, 0):,}{many}", "current": value == state}
        for value, label in Incoming.State.choices
    ]


def _choice(candidates: Sequence[ReplyCandidate]) -> dict[str, Any] | None:
    """Why the taken candidate was taken, in words; None where none was."""
    taken = next((candidate for candidate in candidates if candidate.chosen), None)
    if taken is None:
        return None
    fit = sum(candidate.chosen or candidate.verdict == reply_choice.BEATEN for candidate in candidates)
    among = f"{fit} of {len(candidates)} candidates could be sent" if len(candidates) > 1 else "The only candidate"
    if len(candidates) == 1:
        why = "it could be sent."
    elif taken.score is not None:
        why = "the taken one has the highest expected score."
    else:
        why = "the taken one passes best for a person's."
    return {"taken": taken, "why": f"{among}; {why}"}


@organization_page("post_view")
def reply_detail(request: OrganizationRequest, bot_id: UUID, incoming_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    incoming = Incoming.objects.filter(bot=bot, pk=incoming_id).select_related("answer").first()
    if incoming is None:
        raise Http404
    answer = queries.posts_of(bot).filter(pk=incoming.answer_id).first() if incoming.answer_id else None
    candidates = list(incoming.candidates.all())
    context = bot_context(bot, "replies") | {
        "incoming": incoming,
        "candidates": candidates,
        "choice": _choice(candidates),
        "least_realism": replies.rules_of(bot).least_realism,
        "post": queries.post_card(bot, answer, request.organization.slug) if answer else None,
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
