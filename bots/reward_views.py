"""The reward studio: a bot's formula built or written, replayed over past posts, and saved."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.models import Bot
from bots.replay import Line, Replay
from bots.reward_forms import RewardForm
from bots.services import reward_studio
from bots.views import bot_context, bot_or_404


@organization_page("bot_view")
def studio(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    return _page(request, bot, RewardForm(bot), reward_studio.replayed(bot, reward_studio.scheme_of(bot)))


@require_POST
@organization_page("bot_edit")
def replay(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """What the form's formula would have made of past posts: the part of the page that shows it, or the whole page."""
    bot = bot_or_404(bot_id)
    form = RewardForm(bot, request.POST)
    found = _replayed(bot, form)
    if not request.htmx:  # type: ignore[attr-defined]
        return _page(request, bot, form, found)
    context = {"bot": bot, "form": form} | _shown(bot, form, found)
    return render(request, "bots/_replay.html", context, status=400 if form.errors else 200)


@require_POST
@organization_page("bot_edit")
def save(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = RewardForm(bot, request.POST)
    if not form.is_valid():
        return _page(request, bot, form, None)
    try:
        reward_studio.save(bot, form.cleaned_data["scheme"])
    except ValidationError as error:
        _add_errors(form, error)
        return _page(request, bot_or_404(bot_id), form, None)
    words = "Saved. It holds from the next reading on."
    if form.cleaned_data["rescore"]:
        done = reward_studio.rescore(bot)
        made = "reward of 1 post is" if done.posts == 1 else f"rewards of {done.posts} posts are"
        words = f"Saved, and the {made} made anew."
        if done.kept:
            one = done.kept == 1
            words += f" {done.kept} {'has' if one else 'have'} no value by this formula and "
            words += "stays as it was." if one else "stay as they were."
    messages.success(request, words)
    return redirect("bots:reward-studio", request.organization.slug, bot.pk)


def _replayed(bot: Bot, form: RewardForm) -> Replay | None:
    if not form.is_valid():
        return None
    try:
        return reward_studio.replayed(bot, form.cleaned_data["scheme"])
    except ValidationError as error:
        _add_errors(form, error)
        return None


def _add_errors(form: RewardForm, error: ValidationError) -> None:
    """A refused formula is told at its field where it was written by hand, else above the form."""
    for name, words in error.message_dict.items():
        field = "formula" if name == "score_formula" and form.data.get("mode") == "write" else None
        for each in words:
            form.add_error("reward_age" if name == "reward_age" else field, each)


def _page(request: OrganizationRequest, bot: Bot, form: RewardForm, found: Replay | None) -> HttpResponse:
    context = bot_context(bot, "reward") | {"form": form} | _shown(bot, form, found)
    return render(request, "bots/reward_studio.html", context, status=400 if form.errors else 200)


def _shown(bot: Bot, form: RewardForm, found: Replay | None) -> dict[str, Any]:
    """What the replay's part of the page needs."""
    now = reward_studio.scheme_of(bot)
    then = form.cleaned_data["scheme"] if form.is_bound and found else now
    compared = found.compared if found else []
    return {
        "replay": found,
        "now": now,
        "then": then,
        "same": then == now,
        "recipe": form.filled(form.recipe) if form.recipe else None,
        "dots": _dots(compared),
        "flipped_share": found.flipped / found.pairs if found and found.pairs else None,
        "most_posts": reward_studio.MOST_POSTS,
    }


def _dots(lines: list[Line]) -> list[dict[str, Any]]:
    """Where each post stands in the picture of ranks, in hundredths of its width and height; 0 is the best."""
    widest = max(len(lines) - 1, 1)
    return [
        {
            "x": round(100 * ((line.rank_now or 1.0) - 1) / widest, 2),
            "y": round(100 * ((line.rank_then or 1.0) - 1) / widest, 2),
            "arm": line.post.arm,
        }
        for line in lines
    ]
