"""The list of a bot's posts: filters, search, many at once, and CSV out and in."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST
from rest_framework.exceptions import ValidationError as BadCursor
from rest_framework.request import Request

from accounts.access import OrganizationRequest, organization_page
from accounts.pagination import NewestFirst
from bots import calendar, queries
from bots.forms import PostForm
from bots.models import Bot, Post
from bots.post_csv import posts_csv
from bots.post_filters import SEARCHED, PostListForm
from bots.services import bulk, csv_import, queue
from bots.states import PostState
from bots.views import add_errors, bot_context, bot_or_404

PAGE = 25
ADDED = "drafts_added"
"""Of the session: numbers of the composer's last forms that became posts; drafts of others are kept by the browser."""
DONE = {
    "approve": "approved",
    "decline": "declined",
    "unschedule": "put back into the queue",
    "cancel": "cancelled",
    "take_down": "taken down",
}
ASKED = {
    "decline": ("Decline", "They stay as records, and as lessons about your taste."),
    "cancel": ("Cancel", "They are withdrawn for good and cannot come back."),
    "take_down": ("Take down", "They are deleted on their platform. That cannot be undone."),
}
"""What is asked about first: the button's words, and what will come of it."""


class _Pages(NewestFirst):
    """Pages of the list; its view's ordering is set by what is asked for."""

    page_size = PAGE
    action = "list"

    def __init__(self, ordering: tuple[str, str]) -> None:
        self.ordering = ordering


@organization_page("post_view")
def post_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    return render_list(request, bot_or_404(bot_id), PostForm(initial=_wanted_time(request)))


def _wanted_time(request: OrganizationRequest) -> dict[str, str]:
    """What a free slot of the calendar asks the composer for."""
    at = request.GET.get("at", "")
    return {"at": at[:19], "when": "at"} if at else {}


def render_list(
    request: OrganizationRequest, bot: Bot, form: PostForm, more: dict[str, Any] | None = None
) -> HttpResponse:
    """The page of posts, with the composer's form as it stands."""
    asked = PostListForm(request.GET)
    zone = calendar.zone_named(request.GET.get("zone", ""), bot)
    cards: list[dict[str, Any]] = []
    pages = _Pages(("-created_at", "-pk"))
    if asked.is_valid():
        pages = _Pages(asked.ordering)
        # First which posts, by an index; what a card shows is joined to those alone.
        found = asked.narrowed(Post.objects.filter(bot=bot), zone).only("pk", "created_at", "published_at")
        try:
            rows = [row.pk for row in pages.paginate_queryset(found, Request(request), pages)]
        except (BadCursor, ValidationError):
            return redirect(request.path + "?" + urlencode(asked.given))
        shown = sorted(queries.posts_of(bot).filter(pk__in=rows), key=lambda post: rows.index(post.pk))
        cards = queries.post_cards(bot, shown, request.organization.slug)
    can = bot.connection.capabilities
    context = bot_context(bot, "posts") | {
        "posts": cards,
        "filters": _state_filters(bot, asked),
        "asked": asked,
        "filtered": bool(asked.given),
        "narrowed": set(asked.given) - {"state"},
        "searched": SEARCHED if asked.is_valid() and asked.searches else 0,
        "query": urlencode(asked.given),
        "form": form,
        "draft": secrets.token_hex(8),
        "added": request.session.get(ADDED, []),
        "zone": zone.key,
        "takes_images": can.takes_images,
        "takes_threads": can.can_thread,
        "selectable": request.membership.allows("post_approve"),
        "previous_url": _query_of(pages.get_previous_link() if cards else None),
        "next_url": _query_of(pages.get_next_link() if cards else None),
        "list_url": reverse("bots:posts", args=[request.organization.slug, bot.pk]),
    }
    return render(request, "bots/post_list.html", context | (more or {}), status=400 if form.errors else 200)


def _query_of(link: str | None) -> str:
    return "?" + urlsplit(link).query if link else ""


def _state_filters(bot: Bot, asked: PostListForm) -> list[dict[str, Any]]:
    """The states as links that keep the other filters; with how many posts there are, where nothing else narrows."""
    counts = queries.counts_by_state(bot)
    others = {name: value for name, value in asked.given.items() if name != "state"}
    current = asked.given.get("state", "")
    total = sum(counts.values())
    states = [("", "All", total), *((value, label, counts.get(value, 0)) for value, label in PostState.choices)]
    return [
        {
            "state": value,
            "url": "?" + urlencode(others | ({"state": value} if value else {})),
            "label": label,
            "count": "" if others else f"{queries.COUNTED:,}+" if count > queries.COUNTED else f"{count:,}",
            "current": value == current,
        }
        for value, label, count in states
        if count or value in ("", current)
    ]


def _chosen(request: OrganizationRequest, bot: Bot) -> list[dict[str, Any]]:
    """The ticked posts of this bot, with the payload that the person saw, as far as they are its."""
    seen: dict[UUID, str] = {}
    for value in request.POST.getlist("post")[: bulk.MOST + 1]:
        pk, _, sha256 = value.partition(":")
        try:
            seen[UUID(pk)] = sha256
        except ValueError:
            continue
    known = dict(Post.objects.filter(bot=bot, pk__in=seen).values_list("pk", "text"))
    return [{"id": pk, "payload_sha256": sha256, "text": known[pk]} for pk, sha256 in seen.items() if pk in known]


@require_POST
@organization_page("post_approve")
def post_bulk(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """Do one thing with every ticked post; what cannot be undone is asked about first."""
    bot = bot_or_404(bot_id)
    choice, back = request.POST.get("choice", ""), request.POST.get("back", "")
    there = reverse("bots:posts", args=[request.organization.slug, bot.pk]) + (back if back.startswith("?") else "")
    chosen = _chosen(request, bot)
    most = bulk.MOST_TAKEN_DOWN if choice == "take_down" else bulk.MOST
    if choice not in DONE or not chosen:
        messages.error(request, "Tick some posts, and say what to do with them.")
        return redirect(there)
    if not request.membership.allows(bulk.PERMISSIONS[choice]):
        raise PermissionDenied(f"Your role ({request.membership.get_role_display()}) does not allow this.")
    if len(chosen) > most:
        messages.error(request, f"Nothing was done: that is possible with at most {most} posts at once. Tick fewer.")
        return redirect(there)
    if choice in ASKED and "sure" not in request.POST:
        verb, consequence = ASKED[choice]
        context = bot_context(bot, "posts") | {"chosen": chosen, "choice": choice, "back": back, "verb": verb}
        return render(request, "bots/post_bulk.html", context | {"consequence": consequence, "there": there})
    reason = request.POST.get("reason", "")[:300]
    outcomes = bulk.act(choice, [each | {"reason": reason} for each in chosen])
    _tell(request, choice, outcomes)
    return redirect(there)


def _tell(request: OrganizationRequest, choice: str, outcomes: list[bulk.Outcome]) -> None:
    done = sum(not outcome.detail for outcome in outcomes)
    if done:
        messages.success(request, f"{done} post{'s' * (done != 1)} {DONE[choice]}.")
    for reason, count in Counter(outcome.detail for outcome in outcomes if outcome.detail).most_common(5):
        left = "1 post was left as it is" if count == 1 else f"{count} posts were left as they are"
        messages.warning(request, f"{left}: {reason}")


@organization_page("post_view")
def post_export(request: OrganizationRequest, bot_id: UUID) -> HttpResponseBase:
    """The posts that the filters leave, or the ticked ones, as a file."""
    bot = bot_or_404(bot_id)
    posts = Post.objects.filter(bot=bot)
    if request.method == "POST":
        return posts_csv(posts.filter(pk__in=[each["id"] for each in _chosen(request, bot)]))
    asked = PostListForm(request.GET)
    if not asked.is_valid():
        return redirect(reverse("bots:posts", args=[request.organization.slug, bot.pk]) + "?" + urlencode(asked.given))
    return posts_csv(asked.narrowed(posts, calendar.zone_named(request.GET.get("zone", ""), bot)))


class CsvForm(forms.Form):
    """A CSV, or its lines: the preview sends them back when they are to be added."""

    file = forms.FileField(
        required=False,
        label="CSV file",
        help_text="UTF-8. A column “text”; a column “at” for times, where you want some. At most 1,000 posts or 1 MB.",
    )
    lines = forms.CharField(
        required=False,
        label="or paste it",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false"}),
    )
    zone = forms.CharField(
        max_length=60,
        label="Time zone of the times",
        help_text="Where a time has no offset of its own.",
        widget=forms.TextInput(attrs={"list": "zones"}),
    )

    def content(self) -> str:
        """What was given, and no more of it than may be. Raises ValidationError when nothing was, or no text."""
        file, lines = self.cleaned_data["file"], self.cleaned_data["lines"]
        if file is not None:
            try:
                return str(file.read(queue.MOST_BYTES + 1).decode("utf-8-sig"))
            except UnicodeDecodeError:
                raise ValidationError({"file": "This is no UTF-8 text: save the file as “CSV UTF-8”."}) from None
        if not lines.strip():
            raise ValidationError({"file": "Choose a file, or paste the rows."})
        return str(lines)


@organization_page("post_write")
def post_import(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """Look through a CSV, or with `add` make posts of what the preview showed."""
    bot = bot_or_404(bot_id)
    form = CsvForm(request.POST or None, request.FILES or None, initial={"zone": calendar.zone_of(bot).key})
    context = bot_context(bot, "posts") | {"form": form}
    if request.method == "POST" and form.is_valid():
        try:
            content = form.content()
            zone = calendar.zone_named(form.cleaned_data["zone"], bot)
            if "add" in request.POST:
                return _add(request, bot, content, zone)
            rows = csv_import.preview(bot, content, zone)
            kept = [row for row in rows if row.kept]
            context |= {
                "rows": rows,
                "kept": kept,
                "dropped": [row for row in rows if not row.kept],
                "timed": [row for row in kept if row.at],
                "to_look_at": [row for row in kept if row.line.flagged or row.late],
                "lines": content,
                "zone": zone.key,
            }
        except ValidationError as error:
            add_errors(form, error)
    return render(request, "bots/post_import.html", context, status=400 if form.errors else 200)


def _add(request: OrganizationRequest, bot: Bot, content: str, zone: Any) -> HttpResponse:
    approve = "approve" in request.POST
    for permission in ("post_approve", "schedule_edit") if approve else ():
        if not request.membership.allows(permission):
            raise PermissionDenied(f"Your role ({request.membership.get_role_display()}) does not allow this.")
    done = csv_import.import_csv(bot, content, zone, approve=approve)
    if not done.posts:
        messages.warning(request, "Nothing was added: the bot has these posts already.")
    else:
        count = len(done.posts)
        times = f" {done.timed} of them at {'its' if done.timed == 1 else 'their'} time." if done.timed else ""
        messages.success(request, f"{count} post{'s' * (count != 1)} added.{times}")
    if done.untimed:
        shown = " ".join(done.untimed[:5]) + (f" And {len(done.untimed) - 5} more." if len(done.untimed) > 5 else "")
        messages.warning(request, f"Without their time: {len(done.untimed)}. {shown}")
    return redirect("bots:posts", request.organization.slug, bot.pk)
