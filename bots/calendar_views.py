"""The calendar of a bot's posts: by month, week or as a list, and moving a post in it.

Everything is drawn and decided here; `calendar.js` adds dragging, keys and a dialog to the same form.
"""

from __future__ import annotations

import calendar as gregorian
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import prefetch_related_objects
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.text import Truncator
from django.views.decorators.http import require_POST

from accounts import clock
from accounts.access import OrganizationRequest, organization_page
from bots import calendar
from bots.models import Bot, Post
from bots.services import moving
from bots.states import IllegalTransition, PostState
from bots.views import bot_context, bot_or_404

VIEWS = {"month": "Month", "week": "Week", "list": "List"}
SHOWN = {"month": 4, "week": 60, "list": 100}
FREE = {"month": 2, "week": 24, "list": 3}
LIST_DAYS, TRAY = 14, 12
MOVED = "calendar_moved"
"""Of the session: the move that can be undone."""


@organization_page("post_view")
def calendar_page(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    prefetch_related_objects([bot], "schedules")
    view = request.GET["view"] if request.GET.get("view") in VIEWS else "month"
    zone = calendar.zone_named(request.GET.get("zone", ""), bot)
    today = clock.now().astimezone(zone).date()
    on = _day(request.GET.get("on", "")) or today
    first, count = _range(view, on)
    days = calendar.days_of(bot, first, count, zone, shown=SHOWN[view], free=FREE[view])
    drawing = _Drawing(request, bot, zone, view, on)
    back = _url(view=view, on=on, zone=zone)
    refreshing = request.htmx and request.htmx.target != "calendar"  # type: ignore[attr-defined]
    context = bot_context(bot, "posts") | {
        "view": view,
        "views": [
            {"label": label, "url": _url(view=name, on=on, zone=zone), "current": name == view}
            for name, label in VIEWS.items()
        ],
        "title": _title(view, on, days),
        "days": days,
        "drawn": [drawing.day(day) for day in days],
        "hours": range(24),
        "zone": zone.key,
        "own_zone": calendar.zone_of(bot).key,
        "base_query": urlencode({"view": view, "on": on.isoformat()}),
        "previous_url": _url(view=view, on=_step(view, on, -1), zone=zone),
        "next_url": _url(view=view, on=_step(view, on, 1), zone=zone),
        "today_url": _url(view=view, on=None, zone=zone),
        "waiting": calendar.without_slot(bot, TRAY),
        "moved": None if refreshing else _undoable(request, bot, zone),
        "back": back,
        "move_url": f"{drawing.address('calendar-move')}?{urlencode({'zone': zone.key, 'back': back})}",
    }
    return render(request, "bots/calendar.html", context)


def _day(written: str) -> date | None:
    try:
        found = date.fromisoformat(written)
    except ValueError:
        return None
    return found if calendar.EARLIEST <= found <= calendar.LATEST else None


def _range(view: str, on: date) -> tuple[date, int]:
    """The first day that is drawn, and how many are: whole weeks from Monday, or the list's fortnight."""
    if view == "list":
        return on, LIST_DAYS
    start = on.replace(day=1) if view == "month" else on
    first = start - timedelta(days=start.weekday())
    if view == "week":
        return first, 7
    last = start.replace(day=gregorian.monthrange(on.year, on.month)[1])
    return first, ((last - first).days // 7 + 1) * 7


def _step(view: str, on: date, by: int) -> date:
    if view == "month":
        month = on.year * 12 + on.month - 1 + by
        return date(month // 12, month % 12 + 1, 1)
    return on + timedelta(days=by * (7 if view == "week" else LIST_DAYS))


def _title(view: str, on: date, days: Sequence[calendar.Day]) -> str:
    if view == "month":
        return f"{on:%B %Y}"
    first, last = days[0].date, days[-1].date
    return f"{first.day} {first:%B} – {last.day} {last:%B %Y}"


class _Drawing:
    """Days as the templates draw them, in words and addresses: a template that has to make those itself takes several
    times as long.
    """

    def __init__(self, request: OrganizationRequest, bot: Bot, zone: ZoneInfo, view: str, on: date) -> None:
        self.request, self.bot, self.zone, self.view, self.on = request, bot, zone, view, on
        self.today = clock.now().astimezone(zone).date()
        self.may_move = request.membership.allows("schedule_edit")
        self.write_url = self.address("posts") if request.membership.allows("post_write") else ""

    def day(self, day: calendar.Day) -> dict[str, Any]:
        """A day; of a week's, the posts and free slots by the hour."""
        within = {"published_after": day.begins.isoformat(), "published_before": day.ends.isoformat()}
        hours = self._hours(day) if self.view == "week" else []
        return {
            "iso": day.date.isoformat(),
            "weekday": f"{day.date:%a}",
            "weekday_whole": f"{day.date:%A}",
            "number": str(day.date.day),
            "month": f"{day.date:%b}",
            "spoken": f"{day.date.day} {day.date:%B}",
            "more": day.more,
            "capped": day.capped,
            "url": _url(view="list", on=day.date, zone=self.zone),
            "all_url": f"{self.address('posts')}?{urlencode(within)}" if day.more and self.view == "list" else "",
            "outside": self.view == "month" and day.date.month != self.on.month,
            "today": day.date == self.today,
            "entries": [] if hours else [self._entry(entry) for entry in day.entries],
            "free": [] if hours else [self._free(slot) for slot in day.free],
            "hours": hours,
        }

    def _hours(self, day: calendar.Day) -> list[dict[str, Any]]:
        return [
            {
                "number": f"{hour:02d}",
                "missing": _is_left_out(datetime(day.date.year, day.date.month, day.date.day, hour, tzinfo=self.zone)),
                "entries": [self._entry(entry) for entry in day.entries if entry.at.hour == hour],
                "free": [self._free(slot) for slot in day.free if slot.hour == hour],
            }
            for hour in range(24)
        ]

    def _entry(self, entry: calendar.Entry) -> dict[str, Any]:
        post = entry.post
        return {
            "id": str(post.pk),
            "state": post.state,
            "label": post.get_state_display(),
            "text": Truncator(post.text).chars(120),
            "url": self.address("post-detail", post.pk),
            "at": entry.at.isoformat(),
            "time": f"{entry.at:%H:%M}",
            "local": f"{entry.at:%Y-%m-%dT%H:%M:%S}",
            "seen": post.slot_utc.isoformat() if post.slot_utc else "",
            "movable": entry.movable and self.may_move,
        }

    def _free(self, slot: datetime) -> dict[str, str]:
        at = {"at": f"{slot:%Y-%m-%dT%H:%M:%S}", "zone": self.zone.key}
        url = f"{self.write_url}?{urlencode(at)}#compose" if self.write_url else ""
        return {"at": slot.isoformat(), "time": f"{slot:%H:%M}", "url": url}

    def address(self, name: str, *more: UUID) -> str:
        return reverse(f"bots:{name}", args=[self.request.organization.slug, self.bot.pk, *more])


def _is_left_out(local: datetime) -> bool:
    """Whether a clock change leaves that hour out."""
    return local.astimezone(UTC).astimezone(local.tzinfo).hour != local.hour


def _url(*, view: str, on: date | None, zone: ZoneInfo | None) -> str:
    asked = {"view": view, "on": on.isoformat() if on else "", "zone": zone.key if zone else ""}
    return "?" + urlencode({name: value for name, value in asked.items() if value})


def _undoable(request: OrganizationRequest, bot: Bot, zone: ZoneInfo) -> dict[str, Any] | None:
    """The move that was just made; told once."""
    moved = request.session.get(MOVED)
    if not moved or moved["bot"] != str(bot.pk):
        return None
    del request.session[MOVED]
    at = datetime.fromisoformat(moved["at"])
    return moved | {"words": moving.words(at, bot, zone)}


@organization_page("schedule_edit")
def calendar_move(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """A form that moves one post, for whoever does not drag; and what the dragging sends."""
    bot = bot_or_404(bot_id)
    asked = request.POST if request.method == "POST" else request.GET
    if "post" not in asked:
        return redirect(_address(request, bot))
    post = _post_or_404(bot, asked.get("post", ""))
    zone = calendar.zone_named(asked.get("zone", ""), bot)
    back = _back(asked.get("back", ""))
    problem = _move(request, bot, post, zone) if request.method == "POST" else ""
    if request.method == "POST" and (not problem or "form" not in request.POST):
        if problem:
            messages.error(request, f"Not moved. {problem}")
        return redirect(_address(request, bot) + back)
    now = clock.now()
    first = now.astimezone(zone).date()
    coming = calendar.days_of(bot, first, LIST_DAYS, zone, shown=1, free=3)
    context = bot_context(bot, "posts") | {
        "post": post,
        "at": post.slot_utc.astimezone(zone) if post.slot_utc else None,
        "written": request.POST.get("at", ""),
        "problem": problem,
        "zone": zone.key,
        "back": back,
        "free": [slot for day in coming for slot in day.free][:8],
    }
    return render(request, "bots/calendar_move.html", context, status=400 if problem else 200)


def _move(request: OrganizationRequest, bot: Bot, post: Post, zone: ZoneInfo) -> str:
    """Move the post as the form says; why not, in words, or ""."""
    try:
        at = calendar.local_moment(request.POST.get("at", ""), zone)
        seen = datetime.fromisoformat(request.POST["seen"]) if request.POST.get("seen") else None
    except ValueError:
        return "Give a day and a time, like 2030-01-31 09:00."
    try:
        moved = moving.move_post(bot, post.pk, at, seen)
    except IllegalTransition:
        return f"This post is “{PostState(post.state).label}” and cannot be moved."
    except ValidationError as error:
        return " ".join(error.messages)
    request.session[MOVED] = {
        "bot": str(bot.pk),
        "post": str(post.pk),
        "text": post.text[:80],
        "at": at.isoformat(),
        "before": moved.before.isoformat() if moved.before else "",
        "schedule": str(moved.schedule_id or ""),
    }
    return ""


@require_POST
@organization_page("schedule_edit")
def calendar_undo(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """Put a moved post back to where it stood."""
    bot = bot_or_404(bot_id)
    post = _post_or_404(bot, request.POST.get("post", ""))
    try:
        before = request.POST.get("before", "")
        schedule = request.POST.get("schedule", "")
        moved = moving.Moved(
            post, datetime.fromisoformat(before) if before else None, UUID(schedule) if schedule else None
        )
        moving.move_back(bot, post.pk, moved, datetime.fromisoformat(request.POST.get("at", "")))
    except ValueError:
        messages.error(request, "Not undone: the form was damaged. Move the post by its “Move” link.")
    except IllegalTransition as error:
        messages.error(request, f"Not undone. {error}")
    except ValidationError as error:
        messages.error(request, f"Not undone. {' '.join(error.messages)}")
    else:
        messages.success(request, "Undone: the post is where it was.")
    return redirect(_address(request, bot) + _back(request.POST.get("back", "")))


def _post_or_404(bot: Bot, written: str) -> Post:
    try:
        post: Post | None = Post.objects.filter(bot=bot, pk=UUID(written)).first()
    except ValueError:
        post = None
    if post is None:
        raise Http404
    return post


def _back(written: str) -> str:
    """The query of the calendar that somebody came from; never another address."""
    return written if written.startswith("?") else ""


def _address(request: OrganizationRequest, bot: Bot) -> str:
    return reverse("bots:calendar", args=[request.organization.slug, bot.pk])
