"""The schedules of a bot: what each means in words and in moments, changed with a preview, and hours that did well."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import clock
from accounts.access import OrganizationRequest, organization_page
from bots import best_hours, costs, schedule_words, slots
from bots.forms import ScheduleForm
from bots.models import Bot, Schedule
from bots.services import bots as services
from bots.views import add_errors, bot_context, bot_or_404

NEW = "new"
SHOWN = 10


@organization_page("schedule_view")
def schedule(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """The bot's schedules, one of them (`schedule`: an id, or “new”; else the first) to be changed, with its next ten
    times. A POST changes it; with `preview` it only shows what would come of it, and with `use_hours` what would come
    of the suggested hours.
    """
    bot = bot_or_404(bot_id)
    schedules = list(Schedule.objects.filter(bot=bot))
    current = _chosen(request, schedules)
    may = request.membership.allows("schedule_edit")
    if request.method == "POST" and not may:
        return render(request, "403.html", status=403)
    form = _form(request, bot, current)
    if not may:
        for field in form.fields.values():
            field.disabled = True
    plan = services.Preview([], "")
    if request.method == "POST" and form.is_valid():
        try:
            plan = services.preview_schedule(bot, current, **form.cleaned_data)
            if not {"preview", "use_hours"} & set(request.POST):
                saved = services.set_schedule(bot, current, **form.cleaned_data)
                messages.success(request, "Saved. Posts that were not yet due have new slots.")
                return redirect(_address(request, bot, saved if len(schedules) > 1 or current is None else None))
        except ValidationError as error:
            add_errors(form, error)
    elif request.method != "POST" and current is not None:
        plan = services.Preview(slots.upcoming(current, clock.now(), SHOWN), schedule_words.in_words(current))
    context = bot_context(bot, "schedule") | _page(bot, schedules, current, form, plan)
    return render(request, "bots/schedule_form.html", context, status=400 if form.errors else 200)


def _chosen(request: OrganizationRequest, schedules: list[Schedule]) -> Schedule | None:
    """The schedule that the page is about; None for a new one. Raises Http404."""
    wanted = request.POST.get("schedule") or request.GET.get("schedule", "")
    if wanted == NEW or not (wanted or schedules):
        return None
    found = [each for each in schedules if not wanted or str(each.pk) == wanted]
    if not found:
        raise Http404
    return found[0]


def _form(request: OrganizationRequest, bot: Bot, current: Schedule | None) -> ScheduleForm:
    data = request.POST.copy() if request.method == "POST" else None
    if data is not None and "use_hours" in data:
        found = best_hours.suggest(bot, _zone(data.get("zone", "")))
        if found.best:
            data["kind"] = Schedule.Kind.TIMETABLE
            data["timetable"] = "\n".join(found.timetable)
    return ScheduleForm(data, initial=_initial(current))


def _page(
    bot: Bot, schedules: list[Schedule], current: Schedule | None, form: ScheduleForm, plan: services.Preview
) -> dict[str, Any]:
    zone = _zone(form["zone"].value())
    found = best_hours.suggest(bot, zone)
    return {
        "form": form,
        "fine_print_open": any(name in form.errors for name in ("jitter_minutes", "misfire", "misfire_minutes")),
        "next_times": plan.times,
        "words": plan.words,
        "time_format": "H:i" if all(time.second == 0 for time in plan.times) else "H:i:s",
        "zone": zone,
        "cost": costs.forecast(bot),
        "schedule": current,
        "schedules": [_entry(each) for each in schedules],
        "suggestion": found,
    }


def _entry(schedule: Schedule) -> dict[str, Any]:
    upcoming = slots.upcoming(schedule, clock.now(), 1) if schedule.active else []
    words = schedule_words.in_words(schedule) or schedule.cron
    return {"row": schedule, "words": words, "next": upcoming[0] if upcoming else None}


def _zone(name: str | None) -> str:
    return name if name and name in clock.zones() else "UTC"


def _initial(current: Schedule | None) -> dict[str, Any]:
    if current is None:
        return {}
    initial = {name: getattr(current, name) for name in ScheduleForm.base_fields}
    return initial | {"timetable": "\n".join(current.timetable)}


def _address(request: OrganizationRequest, bot: Bot, schedule: Schedule | None) -> str:
    address = f"/o/{request.organization.slug}/bots/{bot.pk}/schedule/"
    return f"{address}?schedule={schedule.pk}" if schedule else address


def _schedule_or_404(bot: Bot, schedule_id: UUID) -> Schedule:
    found: Schedule | None = Schedule.objects.filter(bot=bot, pk=schedule_id).first()
    if found is None:
        raise Http404
    return found


@require_POST
@organization_page("schedule_edit")
def schedule_switch(request: OrganizationRequest, bot_id: UUID, schedule_id: UUID) -> HttpResponse:
    """Switch a schedule off or on again."""
    bot = bot_or_404(bot_id)
    found = _schedule_or_404(bot, schedule_id)
    services.set_schedule(bot, found, active=not found.active)
    messages.success(request, "The schedule is on." if found.active else "The schedule is off: it gives no slots.")
    return redirect(_address(request, bot, found))


@require_POST
@organization_page("schedule_edit")
def schedule_remove(request: OrganizationRequest, bot_id: UUID, schedule_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    services.remove_schedule(_schedule_or_404(bot, schedule_id))
    messages.success(request, "Removed. Its posts that were not yet due wait for another slot.")
    return redirect(_address(request, bot, None))
