"""Pages of the curated queue: what waits and in which order, and posts brought along in a file."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.models import Bot, Post, Schedule
from bots.services import queue, review
from bots.views import add_errors, bot_context, bot_or_404

PAGE = 50


class ImportForm(forms.Form):
    """A file, or the lines themselves: the preview sends them back when they are to be added."""

    file = forms.FileField(
        required=False, label="Text file", help_text="One post per line, UTF-8, at most 1,000 posts or 1 MB."
    )
    lines = forms.CharField(
        required=False, label="or paste the lines", strip=False, widget=forms.Textarea(attrs={"rows": 4})
    )

    def content(self) -> bytes | str:
        """What was given, and no more of it than may be. Raises ValidationError when nothing was."""
        file, lines = self.cleaned_data["file"], self.cleaned_data["lines"]
        if file is not None:
            content: bytes = file.read(queue.MOST_BYTES + 1)
            return content
        if not lines.strip():
            raise ValidationError({"file": "Choose a file, or paste the posts."})
        return str(lines)


@organization_page("post_view")
def queue_page(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    return _queue(request, bot_or_404(bot_id), ImportForm())


def _queue(request: OrganizationRequest, bot: Bot, form: ImportForm) -> HttpResponse:
    page = Paginator(queue.waiting(bot), PAGE).get_page(request.GET.get("page"))
    context = bot_context(bot, "queue") | {
        "page": page,
        "waiting": list(zip(range(page.start_index(), page.end_index() + 1), page.object_list, strict=False)),
        "review_count": review.waiting_count(bot),
        "orders": Bot.QueueOrder.choices,
        "is_random": bot.queue_order == Bot.QueueOrder.RANDOM,
        "has_schedule": Schedule.objects.filter(bot=bot, active=True).exists(),
        "form": form,
    }
    return render(request, "bots/queue.html", context, status=400 if form.errors else 200)


@require_POST
@organization_page("post_write")
def queue_move(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    if not Post.objects.filter(pk=post_id, bot=bot).exists():
        raise Http404
    try:
        queue.move_post(post_id, request.POST.get("to", ""))  # type: ignore[arg-type]  # it says which there are
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    if request.htmx:  # type: ignore[attr-defined]
        return _queue(request, bot, ImportForm())
    return redirect("bots:queue", request.organization.slug, bot.pk)


@require_POST
@organization_page("post_write")
def queue_remove(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """Withdraw every post with a tick."""
    bot = bot_or_404(bot_id)
    chosen = request.POST.getlist("post")
    if not chosen:
        messages.error(request, "Tick the posts to remove.")
    else:
        done, left = queue.remove(bot, chosen)
        words = f"Removed: {done}."
        if left:
            words += f" Left as they are, since they moved on meanwhile: {left}."
        (messages.warning if left else messages.success)(request, words)
    return redirect("bots:queue", request.organization.slug, bot.pk)


@require_POST
@organization_page("schedule_edit")
def queue_order(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    try:
        queue.set_order(bot, request.POST.get("order", ""))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "Posts that were not yet due have new slots.")
    return redirect("bots:queue", request.organization.slug, bot.pk)


@require_POST
@organization_page("post_write")
def queue_import(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """Look through a file, or with `add` put what the preview showed into the queue."""
    bot = bot_or_404(bot_id)
    form = ImportForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            content = form.content()
            if "add" in request.POST:
                return _add(request, bot, content)
            return render(request, "bots/queue_import.html", bot_context(bot, "queue") | _preview(bot, content))
        except ValidationError as error:
            add_errors(form, error)
    return _queue(request, bot, form)


def _preview(bot: Bot, content: bytes | str) -> dict[str, Any]:
    looked = queue.preview_import(bot, content)
    kept = [line for line in looked if not line.dropped]
    return {
        "kept": kept,
        "dropped": [line for line in looked if line.dropped],
        "flagged": [line for line in kept if line.flagged],
        "lines": "\n".join(line.text for line in looked),
    }


def _add(request: OrganizationRequest, bot: Bot, content: bytes | str) -> HttpResponse:
    approve = "approve" in request.POST
    if approve and not request.membership.allows("post_approve"):
        raise PermissionDenied(f"Your role ({request.membership.get_role_display()}) does not allow approving posts.")
    made = queue.import_lines(bot, content, approve=approve)
    if not made:
        messages.warning(request, "Nothing was added: the bot has these posts already.")
        return redirect("bots:queue", request.organization.slug, bot.pk)
    ready = sum(post.state in queue.WAITING for post in made)
    unready = len(made) - ready
    wait = f" {unready} wait{'s' * (unready == 1)} for review." if unready else ""
    messages.success(request, f"{len(made)} post{'s' * (len(made) != 1)} added, {ready} approved.{wait}")
    return redirect("bots:queue", request.organization.slug, bot.pk)
