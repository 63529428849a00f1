"""The composer: how a text counts and looks on its platform, what the rules say of it, and adding it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots import calendar
from bots.forms import PostForm, one_newline
from bots.models import Bot, Post, Verdict
from bots.post_list_views import ADDED, render_list
from bots.services import composing, posts
from bots.services.moving import words
from bots.states import PostState
from bots.views import add_errors, bot_or_404
from faces.contract import OutgoingImage, OutgoingPost
from faces.entities import pieces
from faces.registry import FACES

NEEDS = {"queue": ("post_approve",), "at": ("post_approve", "schedule_edit"), "now": ("post_approve",)}
"""What a choice of time asks for besides writing posts."""
REMEMBERED = 8


@require_POST
@organization_page("post_write")
def post_create(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = PostForm(request.POST, request.FILES)
    if form.is_valid():
        when = form.cleaned_data["when"]
        if not all(map(request.membership.allows, NEEDS.get(when, ()))):
            raise PermissionDenied(f"Your role ({request.membership.get_role_display()}) does not allow this.")
        zone = calendar.zone_named(form.cleaned_data["zone"], bot)
        try:
            made = composing.compose(bot, _drafts(form), when, _moment(form.cleaned_data["at"], zone))
        except ValidationError as error:
            add_errors(form, error)
        else:
            _tell(request, made[0], zone)
            _note_added(request)
            return redirect("bots:posts", request.organization.slug, bot.pk)
    return render_list(request, bot, form)


def _drafts(form: PostForm) -> list[posts.Draft]:
    first = posts.Draft(form.cleaned_data["text"], images=_images(form.cleaned_data))
    return [first, *(posts.Draft(text) for text in form.parts)]


def _images(data: dict[str, Any]) -> tuple[OutgoingImage, ...]:
    file: UploadedFile[Any] | None = data["image"]
    if file is None:
        return ()
    # The type that the image library found, not the one that the browser claims.
    found = getattr(getattr(file, "image", None), "format", "") or ""
    file.seek(0)
    return (OutgoingImage(file.read(), f"image/{found.lower()}", data["alt_text"]),)


def _moment(written: str, zone: ZoneInfo) -> datetime | None:
    try:
        return calendar.local_moment(written, zone) if written else None
    except ValueError:
        raise ValidationError({"at": "Give a day and a time, like 2030-01-31 09:00."}) from None


def _note_added(request: OrganizationRequest) -> None:
    """Remember which form was added, for the browser to drop its draft."""
    if number := request.POST.get("draft", "")[:32]:
        request.session[ADDED] = [*request.session.get(ADDED, []), number][-REMEMBERED:]


def _tell(request: OrganizationRequest, post: Post, zone: ZoneInfo) -> None:
    """Say what became of the post, and why it is not sent."""
    against = [verdict.reason for verdict in post.verdicts.all() if verdict.value != Verdict.Value.PASS]
    if post.state == PostState.SCHEDULED and post.slot_utc:
        messages.success(request, f"Added: planned for {words(post.slot_utc, post.bot, zone)}.")
    elif against:
        messages.warning(request, f"Added: {post.get_state_display().lower()}. {' '.join(against)}")
    else:
        messages.success(request, f"Added: {post.get_state_display().lower()}.")


@require_POST
@organization_page("post_write")
def post_count(request: OrganizationRequest, bot_id: UUID) -> JsonResponse:
    """How long a text is by its platform's own counting, while it is being written. `excess`: by how much too long."""
    face = bot_or_404(bot_id).connection.face
    text = one_newline(request.POST.get("text", ""))
    limit = face.capabilities.max_length
    return JsonResponse({"length": face.count(text), "limit": limit, "excess": max(0, face.excess(text))})


@require_POST
@organization_page("post_write")
def post_preview(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """How what is being written would look there, and what the rules would say; nothing is kept."""
    bot = bot_or_404(bot_id)
    form = PostForm(request.POST, request.FILES)
    if form.is_valid():
        drafts = _drafts(form)
        shown = {"previewed": _preview(bot, drafts), "platform": FACES[bot.connection.kind].label, "bot": bot}
    else:
        shown = {"preview_errors": [error for errors in form.errors.values() for error in errors], "bot": bot}
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "bots/_preview.html", shown)
    return render_list(request, bot, form, shown)


def _preview(bot: Bot, drafts: list[posts.Draft]) -> list[dict[str, Any]]:
    face, earlier, parts = bot.connection.face, posts.earlier_texts(bot), []
    for number, draft in enumerate(drafts, start=1):
        title, text = face.title_and_text(OutgoingPost(draft.text, draft.images))
        try:
            posts.check_draft(bot, OutgoingPost(draft.text, draft.images))
            objections: list[str] = []
        except ValidationError as error:
            objections = error.messages
        parts.append(
            {
                "number": number,
                "title": title,
                "pieces": list(pieces(text, face.entities(text))),
                "images": [image.alt_text for image in draft.images],
                "length": face.count(draft.text),
                "limit": face.capabilities.max_length,
                "objections": objections,
                "verdicts": posts.judged(bot, draft, earlier) if draft.text else [],
            }
        )
        earlier.add(draft.text)
    return parts
