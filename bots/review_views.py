"""Review, one post at a time: of one bot, or of all of the organization's bots one after the other.

What a sitting needs to know beyond the rows stays in the session: which posts were skipped, and which were decided on,
so that the last decision can be taken back, and the one before it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import OuterRef
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.agreement import agreement
from bots.models import Bot, Decision, Incoming, Post, Verdict
from bots.services import review
from bots.states import PostState
from bots.views import bot_context, bot_or_404

DECIDED, SKIPPED = "review_decided", "review_skipped"
MOST_DECIDED, MOST_SKIPPED = 30, 500
ALL = "all"
"""Field of a form that was sent from the review of all bots, and so leads back to it."""


@organization_page("post_approve")
def review_page(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """The next post of one bot; with `post`, that one first."""
    bot = bot_or_404(bot_id)
    context = bot_context(bot, "review") | _sitting(request, bot, wanted=request.GET.get("post", ""))
    return render(request, "bots/review.html", context)


@organization_page("post_approve")
def review_all(request: OrganizationRequest) -> HttpResponse:
    """The next post of the organization: bot by bot, so that one voice is in the reader's ear at a time."""
    wanted = request.GET.get("post", "")
    return render(request, "bots/review_all.html", _sitting_of_all(request, wanted=wanted))


@require_POST
@organization_page("post_approve")
def review_decide(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    """Approve, decline, rewrite or skip a post, as `choice` says."""
    post, choice = _post_or_404(bot_id, post_id), request.POST.get("choice", "")
    if choice == "skip":
        _remember(request, SKIPPED, post, MOST_SKIPPED)
        return _next(request, post.bot)
    if choice == "edit" and not request.membership.allows("post_write"):
        raise PermissionDenied(f"Your role ({request.membership.get_role_display()}) does not allow this.")
    text = request.POST.get("text", "").strip()
    try:
        decided = review.decide(
            post_id,
            choice,  # type: ignore[arg-type]  # the service says which there are
            seen_sha256=request.POST.get("sha256") or None,
            reason=request.POST.get("other", "").strip() or request.POST.get("reason", ""),
            text=text,
        )
    except review.DecidedMeanwhile as faster:
        messages.warning(request, str(faster))
        return _next(request, post.bot)
    except ValidationError as error:
        return _next(request, post.bot, post, edit_errors=error.messages, edited_text=text)
    if decided.decisions.exists():  # an edit that changes nothing is none
        _remember(request, DECIDED, post, MOST_DECIDED)
    return _next(request, post.bot, post if choice == "edit" else None)


@require_POST
@organization_page("post_approve")
def review_undo(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    """Take the newest decision on a post back, and show the post again."""
    post = _post_or_404(bot_id, post_id)
    _forget(request, post)
    try:
        review.undo(post_id)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return _next(request, post.bot)
    return _next(request, post.bot, post)


@require_POST
@organization_page("post_approve")
def review_again(request: OrganizationRequest) -> HttpResponse:
    """Look at the posts again that were skipped."""
    request.session.pop(SKIPPED, None)
    bot = bot_or_404(UUID(request.POST["bot"])) if _is_id(request.POST.get("bot", "")) else None
    return redirect(_address(request, bot))


@organization_page("post_approve")
def review_agreement(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """How people's decisions agree with the reward model and the audience."""
    bot = bot_or_404(bot_id)
    return render(request, "bots/review_agreement.html", bot_context(bot, "review") | {"agreement": agreement(bot)})


def _post_or_404(bot_id: UUID, post_id: UUID) -> Post:
    bot = bot_or_404(bot_id)
    post: Post | None = Post.objects.filter(bot=bot, pk=post_id).first()
    if post is None:
        raise Http404
    post.bot = bot
    return post


def _next(request: OrganizationRequest, bot: Bot, post: Post | None = None, **context: Any) -> HttpResponse:
    """After an act: for htmx the next post (or this one again), else the way back to the page."""
    of_all = ALL in request.POST
    wanted = str(post.pk) if post else ""
    if not request.htmx and not context:  # type: ignore[attr-defined]
        return redirect(_address(request, None if of_all else bot, wanted))
    sitting = (
        _sitting_of_all(request, wanted) if of_all else bot_context(bot, "review") | _sitting(request, bot, wanted)
    )
    page = "bots/review_all.html" if of_all else "bots/review.html"
    template = "bots/review_post.html" if request.htmx else page  # type: ignore[attr-defined]
    return render(request, template, sitting | context, status=400 if context else 200)


def _address(request: OrganizationRequest, bot: Bot | None, wanted: str = "") -> str:
    slug = request.organization.slug
    address = reverse("bots:review", args=[slug, bot.pk]) if bot else reverse("bots:review-all", args=[slug])
    return f"{address}?{urlencode({'post': wanted})}" if wanted else address


def _sitting_of_all(request: OrganizationRequest, wanted: str = "") -> dict[str, Any]:
    of = Post.objects.filter(pk=wanted).values_list("bot", flat=True).first() if _is_id(wanted) else None
    bot = review.bot_to_review(request.session.get(SKIPPED, []), first=of)
    if bot is None:
        waiting = review.waiting_count()
        common = {"of_all": True, "undoable": _undoable(request, None)}
        return {"post": None, "skipped": waiting, "waiting": waiting} | common
    return _sitting(request, bot, wanted, of_all=True)


def _sitting(request: OrganizationRequest, bot: Bot, wanted: str = "", *, of_all: bool = False) -> dict[str, Any]:
    """What is shown of a bot: the post to look at now; of it, or of all bots: how many wait, and what can be taken
    back.
    """
    ids = review.in_order(bot, request.session.get(SKIPPED, []))
    first = UUID(wanted) if _is_id(wanted) else None
    flags = Verdict.objects.filter(post=OuterRef("pk"), value=Verdict.Value.FLAG).order_by("rule").values("reason")
    posts = Post.objects.filter(bot=bot, state=PostState.PENDING_REVIEW).select_related("continues")
    posts = posts.annotate(flags=ArraySubquery(flags))
    post = posts.filter(pk=first).first() if first else None
    if post is None and ids:
        post = posts.filter(pk=ids[0]).first()
    counted = None if of_all else bot
    waiting = review.waiting_count(counted)
    return {
        "of_all": of_all,
        "bot": bot,
        "post": _shown(request, bot, post) if post else None,
        "waiting": waiting,
        "many": waiting > review.MOST_COUNTED,
        "skipped": 0 if post else waiting,
        "undoable": _undoable(request, counted),
        "reasons": review.REASONS,
    }


def _shown(request: OrganizationRequest, bot: Bot, post: Any) -> dict[str, Any]:
    """The post with what helps to decide about it."""
    post.bot = bot
    known = post.provenance
    slug = request.organization.slug
    return {
        "row": post,
        "flags": post.flags,
        "images": [
            {"url": reverse("bots:post-image", args=[slug, bot.pk, post.pk, image.pk]), "alt_text": image.alt_text}
            for image in post.images.all()
        ],
        "predicted": known.get("predicted"),
        "predicted_sd": known.get("predicted_sd"),
        "nearest_text": known.get("nearest_text", ""),
        "shared_run": known.get("shared_run"),
        "version": known.get("version"),
        "incoming": Incoming.objects.filter(answer=post).first() if post.kind == Post.Kind.REPLY else None,
        "slot": review.when_sent(post),
    }


def _undoable(request: OrganizationRequest, bot: Bot | None) -> Decision | None:
    """The newest decision of this sitting that can still be taken back: about a post of the bot, or of any."""
    decided = [entry.split(":") for entry in request.session.get(DECIDED, [])]
    ids = [post for of, post in decided if bot is None or of == str(bot.pk)]
    return review.last_decision(ids[-1]) if ids else None


def _remember(request: OrganizationRequest, name: str, post: Post, most: int) -> None:
    entry = str(post.pk) if name == SKIPPED else f"{post.bot_id}:{post.pk}"
    others = [other for other in request.session.get(name, []) if other != entry or name == DECIDED]
    request.session[name] = [*others, entry][-most:]


def _forget(request: OrganizationRequest, post: Post) -> None:
    """A decision that is taken back, and a post that is to be seen again."""
    decided = list(request.session.get(DECIDED, []))
    if (entry := f"{post.bot_id}:{post.pk}") in decided:
        last = len(decided) - 1 - decided[::-1].index(entry)
        request.session[DECIDED] = decided[:last] + decided[last + 1 :]
    request.session[SKIPPED] = [other for other in request.session.get(SKIPPED, []) if other != str(post.pk)]


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
