"""Pages of single posts, and what people do with them. Their list and the composer have modules of their own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import prefetch_related_objects
from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots import queries, why
from bots.forms import one_newline
from bots.models import Bot, Post, PostImage, ScoreObservation
from bots.report_forms import MemberReportForm
from bots.services import delivery, posts, scheduling
from bots.states import IllegalTransition, PostState
from bots.views import bot_context, bot_or_404
from faces.contract import FaceError


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
def posts_fragment(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    published = queries.posts_of(bot).filter(state=PostState.PUBLISHED, published_at__isnull=False)
    latest = published.order_by("-published_at")[:10]
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
    if request.htmx and request.htmx.target == f"post-{post_id}":  # type: ignore[attr-defined]
        return _acted(request, bot, post_id)  # its card in a list, which has heard that it moved
    context = bot_context(bot, "posts") | _limits(bot)
    card = queries.post_card(bot, post, request.organization.slug)
    prefetch_related_objects([post], "observations")
    context |= {
        "post": card,
        "why": why.explain(post, card["reward"]),
        "version_id": post.model_version_id,
        "report_form": MemberReportForm(),
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


def _acted(request: OrganizationRequest, bot: Bot, post_id: UUID, **context: Any) -> HttpResponse:
    """After an act: the post's card for htmx, the page it came from otherwise."""
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect("bots:post-detail", request.organization.slug, bot.pk, post_id)
    card = queries.post_card(bot, _post_or_404(bot, post_id), request.organization.slug)
    selectable = "ticks" in request.GET or "ticks" in request.POST  # the list has boxes to tick, other pages have none
    context = {"bot": bot, "post": card, "selectable": selectable} | context
    return render(request, "bots/_post_card.html", _limits(bot) | context)


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
    text = one_newline(request.POST.get("text", ""))
    try:
        posts.edit_post(post_id, text, seen_sha256=request.POST.get("sha256") or None)
    except IllegalTransition as error:
        return _not_saved(request, bot, post_id, [str(error)], text)
    except ValidationError as error:
        return _not_saved(request, bot, post_id, error.messages, text)
    return _acted(request, bot, post_id)


def _not_saved(request: OrganizationRequest, bot: Bot, post_id: UUID, errors: list[str], text: str) -> HttpResponse:
    """The post as it is now, and below it, still in its field, what the person wrote: nothing is lost."""
    context = {"edit_errors": errors, "edited_text": text}
    if request.htmx:  # type: ignore[attr-defined]
        return _acted(request, bot, post_id, **context)
    card = queries.post_card(bot, _post_or_404(bot, post_id), request.organization.slug)
    context |= bot_context(bot, "posts") | _limits(bot) | {"post": card, "plain": True}
    return render(request, "bots/post_edit.html", context, status=409)


@organization_page("post_view")
def post_image(request: OrganizationRequest, bot_id: UUID, post_id: UUID, image_id: UUID) -> HttpResponseBase:
    image = PostImage.objects.filter(pk=image_id, post=post_id, post__bot=bot_id).first()
    if image is None:
        raise Http404
    response = FileResponse(image.file.open("rb"), content_type=image.media_type)
    response["X-Content-Type-Options"] = "nosniff"
    return response
