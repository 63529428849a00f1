"""Pages of bots: overview and settings. Posts and schedules have their own modules."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.forms import BaseForm
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots import costs, maturation, parts, queries
from bots.forms import BotForm, BotSettingsForm
from bots.models import Bot
from bots.services import bots as services
from bots.standing import sanctions_in_force
from faces.models import Connection
from faces.services import create_connection


def bot_or_404(bot_id: UUID) -> Bot:
    """The bot of the active organization with this id; another organization's is as missing as one that never was."""
    bot = Bot.objects.select_related("connection", "organization").filter(pk=bot_id).first()
    if bot is None:
        raise Http404
    return bot


def bot_context(bot: Bot, tab: str) -> dict[str, Any]:
    """What every page of a bot needs: its head and tabs."""
    state, label = queries.state_of(bot)
    return {"bot": bot, "tab": tab, "state": state, "state_label": label}


def add_errors(form: BaseForm, error: ValidationError) -> None:
    """Put a service's refusal where the person looks: at the field, or above the form."""
    fields = error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
    for name, found in fields.items():
        for message in found:
            form.add_error(name if name in form.fields else None, message)


@organization_page("bot_edit")
def new(request: OrganizationRequest) -> HttpResponse:
    form = BotForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            bot = _create(form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"{bot.name} is here. Give it past posts to learn from.")
            return redirect("training:dataset-upload", request.organization.slug, bot.pk)
    return render(request, "bots/bot_new.html", {"form": form}, status=400 if form.errors else 200)


@transaction.atomic
def _create(data: dict[str, Any]) -> Bot:
    choice = data["connection"]
    if choice.startswith("new:"):
        connection = create_connection(choice.removeprefix("new:"), f"{data['name']} ({choice.removeprefix('new:')})")
    else:
        connection = Connection.objects.get(pk=choice)
    return services.create_bot(data["name"], connection, base_model=data["base_model"], approval=data["approval"])


@organization_page("bot_view")
def overview(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    context = bot_context(bot, "overview") | {
        "sanctions": sanctions_in_force(bot),
        "point_cost": costs.per_reward_point(bot),
    }
    for verdict_of in parts.VERDICT:
        context |= verdict_of(bot, request.membership)
    return render(request, "bots/bot_overview.html", context)


@organization_page("bot_edit")
def settings(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    names = list(BotSettingsForm.base_fields)
    initial = {name: getattr(bot, name) for name in names} | {"blocklist": "\n".join(bot.blocklist)}
    form = BotSettingsForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            services.change_bot(bot, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
            bot = bot_or_404(bot_id)
        else:
            messages.success(request, "Saved.")
            return redirect("bots:settings", request.organization.slug, bot.pk)
    context = bot_context(bot, "settings") | {"form": form, "maturity": maturation.maturity_curve(bot)}
    return render(request, "bots/bot_settings.html", context, status=400 if form.errors else 200)


@require_POST
@organization_page("bot_pause")
def pause(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    services.pause_bot(bot, request.POST.get("reason", ""))
    return redirect("bots:overview", request.organization.slug, bot.pk)


@require_POST
@organization_page("bot_pause")
def resume(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    try:
        services.resume_bot(bot)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("bots:overview", request.organization.slug, bot.pk)
