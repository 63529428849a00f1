"""Pages of bots: home, overview, settings and schedules. Posts have their own module."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts import clock
from accounts.access import OrganizationRequest, organization_page
from bots import costs, maturation, queries, slots
from bots.forms import BotForm, BotSettingsForm, ScheduleForm
from bots.models import Bot, Schedule
from bots.services import bots as services
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


@organization_page("bot_view")
def home(request: OrganizationRequest) -> HttpResponse:
    bots = Bot.objects.select_related("connection", "organization")
    return render(request, "accounts/organization_home.html", {"bots": [_home_entry(request, bot) for bot in bots]})


def _home_entry(request: OrganizationRequest, bot: Bot) -> dict[str, Any]:
    state, label = queries.state_of(bot)
    counts = queries.counts_by_state(bot)
    upcoming = queries.next_posts(bot, 1).first()
    return {
        "bot": bot,
        "state": state,
        "state_label": label,
        "sparkline_url": reverse("training:bot-series", args=[request.organization.slug, bot.pk]),
        "next_post": {"publish_at": upcoming.slot_utc} if upcoming and upcoming.slot_utc else None,
        "pending_review": counts.get("pending_review", 0),
        "posts_published": counts.get("published", 0),
    }


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
    return render(request, "bots/bot_overview.html", bot_context(bot_or_404(bot_id), "overview"))


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
    services.resume_bot(bot)
    return redirect("bots:overview", request.organization.slug, bot.pk)


@organization_page("schedule_view")
def schedule(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """The bot's schedule with its next ten times; a POST changes it, or with `preview` only shows what would come of
    it.
    """
    bot = bot_or_404(bot_id)
    current = Schedule.objects.filter(bot=bot).first()
    form = ScheduleForm(request.POST or None, initial=_schedule_initial(current))
    if not request.membership.allows("schedule_edit"):
        for field in form.fields.values():
            field.disabled = True
    preview: list[Any] = []
    if request.method == "POST":
        if not request.membership.allows("schedule_edit"):
            return _forbidden(request)
        if form.is_valid():
            try:
                preview = _save_or_preview(request, bot, current, form.cleaned_data)
            except ValidationError as error:
                add_errors(form, error)
            else:
                if "preview" not in request.POST:
                    messages.success(request, "Saved. Posts that were not yet due have new slots.")
                    return redirect("bots:schedule", request.organization.slug, bot.pk)
    elif current is not None:
        preview = slots.upcoming(current, clock.now(), 10)
    context = bot_context(bot, "schedule") | {
        "form": form,
        "next_times": preview,
        "cost": costs.forecast(bot),
        "schedule": current,
        "zone": form["zone"].value(),
        "time_format": "H:i" if all(time.second == 0 for time in preview) else "H:i:s",
    }
    return render(request, "bots/schedule_form.html", context, status=400 if form.errors else 200)


def _schedule_initial(current: Schedule | None) -> dict[str, Any]:
    if current is None:
        return {}
    initial = {name: getattr(current, name) for name in ScheduleForm.base_fields}
    return initial | {"timetable": "\n".join(current.timetable)}


def _save_or_preview(request: HttpRequest, bot: Bot, current: Schedule | None, rule: dict[str, Any]) -> list[Any]:
    if "preview" not in request.POST:
        saved = services.set_schedule(bot, current, **rule)
        return slots.upcoming(saved, clock.now(), 10)
    return services.preview_schedule(bot, current, **rule)


def _forbidden(request: HttpRequest) -> HttpResponse:
    return render(request, "403.html", status=403)
