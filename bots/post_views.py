"""Pages of posts: the list, one post, and what people do with them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots import queries
from bots.forms import PostForm
from bots.models import Bot, Post, PostImage, ScoreObservation
from bots.services import delivery, posts, scheduling, threads
from bots.states import IllegalTransition, PostState
from bots.views import add_errors, bot_context, bot_or_404
from faces.contract import FaceError, OutgoingImage

PAGE = 25


def _post_or_404(bot: Bot, post_id: UUID) -> Post:
    post = queries.posts_of(bot).filter(pk=post_id).first()
    if post is None:
        raise Http404
    return post


def _limits(bot: Bot) -> dict[str, Any]:
    can = bot.connection.capabilities
    return {
        "takes_images": can.takes_images,
        "takes_threads": can.can_thread,
    }


@organization_page("post_view")
def post_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    return _list(request, bot_or_404(bot_id), PostForm())


def _list(request: OrganizationRequest, bot: Bot, form: PostForm) -> HttpResponse:
    wanted = request.GET.get("state", "")
    state = wanted if wanted in PostState.values else ""
    found = queries.posts_of(bot)
    page = Paginator(found.filter(state=state) if state else found, PAGE).get_page(request.GET.get("page"))
    counts = queries.counts_by_state(bot)
    filters = [{"value": "", "label": "All", "count": sum(counts.values()), "current": not state}]
    filters += [
        {"value": value, "label": label, "count": counts[value], "current": value == state}
        for value, label in PostState.choices
        if counts.get(value) or value == state
    ]

    def url(number: int) -> str:
        return "?" + urlencode({"state": state, "page": number})

    context = bot_context(bot, "posts") | _limits(bot)
    context |= {
        "posts": queries.post_cards(bot, page.object_list, request.organization.slug),
        "filters": filters,
        "filtered": bool(state),
        "form": form,
        "previous_url": url(page.previous_page_number()) if page.has_previous() else "",
        "next_url": url(page.next_page_number()) if page.has_next() else "",
    }
    return render(request, "bots/post_list.html", context, status=400 if form.errors else 200)


@organization_page("post_view")
def posts_fragment(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    latest = queries.posts_of(bot).filter(state=PostState.PUBLISHED).order_by("-published_at")[:10]
    cards = queries.post_cards(bot, latest, request.organization.slug)
    return render(request, "bots/_posts_table.html", {"bot": bot, "posts": cards})


@organization_page("post_view")
def next_posts_fragment(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    cards = queries.post_cards(bot, queries.next_posts(bot), request.organization.slug)
    pending = queries.counts_by_state(bot).get(PostState.PENDING_REVIEW, 0)
    return render(request, "bots/_next_posts.html", {"bot": bot, "posts": cards, "pending_review": pending})


@organization_page("post_view")
def post_detail(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    post = _post_or_404(bot, post_id)
    context = bot_context(bot, "posts") | _limits(bot)
    context |= {
        "post": queries.post_card(bot, post, request.organization.slug),
        "provenance": post.provenance,
        "reward_formula": post.reward.formula if hasattr(post, "reward") else "",
        "verdicts": list(post.verdicts.all()),
        "observations": [_with_age(observation) for observation in post.observations.all()],
        "remote_url": post.remote_url,
        "approved_by": post.approved_by,
        "decline_reason": post.decline_reason,
    }
    return render(request, "bots/post_detail.html", context)


def _with_age(observation: ScoreObservation) -> dict[str, Any]:
    minutes = observation.age_seconds // 60
    label = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 4320 else f"{minutes // 1440} days"
    return {"age_label": label, "metrics": observation.metrics, "followers": observation.followers}


@require_POST
@organization_page("post_write")
def post_create(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = PostForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            first = posts.Draft(form.cleaned_data["text"].strip(), images=_image(form.cleaned_data))
            following = [posts.Draft(text) for text in form.parts]
            made = threads.propose_thread(bot, [first, *following])
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"Added: {made[0].get_state_display().lower()}.")
            return redirect("bots:posts", request.organization.slug, bot.pk)
    return _list(request, bot, form)


def _image(data: dict[str, Any]) -> tuple[OutgoingImage, ...]:
    file: UploadedFile[Any] | None = data["image"]
    if file is None:
        return ()
    # The type that the image library found, not the one that the browser claims.
    found = getattr(getattr(file, "image", None), "format", "") or ""
    file.seek(0)
    return (OutgoingImage(file.read(), f"image/{found.lower()}", data["alt_text"]),)


def _acted(request: OrganizationRequest, bot: Bot, post_id: UUID, **context: Any) -> HttpResponse:
    """After an act: the post's card for htmx, the page it came from otherwise."""
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("bots:post-detail", request.organization.slug, bot.pk, post_id)
    card = queries.post_card(bot, _post_or_404(bot, post_id), request.organization.slug)
    return render(request, "bots/_post_card.html", {"bot": bot, "post": card} | _limits(bot) | context)


def _act(request: OrganizationRequest, bot_id: UUID, post_id: UUID, verb: Any, **arguments: Any) -> HttpResponse:
    bot = bot_or_404(bot_id)
    _post_or_404(bot, post_id)
    try:
        verb(post_id, **arguments)
    except IllegalTransition as error:
        messages.error(request, str(error))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    except FaceError as error:
        messages.error(request, f"The platform refused: {error}")
    return _acted(request, bot, post_id)


@require_POST
@organization_page("post_approve")
def post_approve(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    return _act(request, bot_id, post_id, posts.approve_post, seen_sha256=request.POST.get("sha256") or None)


@require_POST
@organization_page("post_approve")
def post_decline(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    return _act(request, bot_id, post_id, posts.decline_post, reason=request.POST.get("reason", ""))


@require_POST
@organization_page("post_write")
def post_cancel(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    return _act(request, bot_id, post_id, posts.cancel_post)


@require_POST
@organization_page("post_approve")
def post_publish_now(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    return _act(request, bot_id, post_id, scheduling.publish_now)


@require_POST
@organization_page("post_approve")
def post_take_down(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    return _act(request, bot_id, post_id, delivery.take_down_post)


@require_POST
@organization_page("post_write")
def post_edit(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    _post_or_404(bot, post_id)
    text = request.POST.get("text", "").strip()
    try:
        posts.edit_post(post_id, text)
    except IllegalTransition as error:
        messages.error(request, str(error))
    except ValidationError as error:
        if request.htmx:  # type: ignore[attr-defined]
            return _acted(request, bot, post_id, edit_errors=error.messages, edited_text=text)
        messages.error(request, " ".join(error.messages))
    return _acted(request, bot, post_id)


@require_POST
@organization_page("post_write")
def post_count(request: OrganizationRequest, bot_id: UUID) -> JsonResponse:
    """How long a text is by its platform's own counting, while it is being written. `excess`: by how much too long."""
    face = bot_or_404(bot_id).connection.face
    text = request.POST.get("text", "").strip()
    limit = face.capabilities.max_length
    return JsonResponse({"length": face.count(text), "limit": limit, "excess": max(0, face.excess(text))})


@organization_page("post_view")
def post_image(request: OrganizationRequest, bot_id: UUID, post_id: UUID, image_id: UUID) -> HttpResponseBase:
    image = PostImage.objects.filter(pk=image_id, post=post_id, post__bot=bot_id).first()
    if image is None:
        raise Http404
    response = FileResponse(image.file.open("rb"), content_type=image.media_type)
    response["X-Content-Type-Options"] = "nosniff"
    return response
