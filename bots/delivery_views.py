"""The page of posts whose outcome a person has to find out, and what that person decides."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.models import Post
from bots.services import needs_human as services
from bots.states import IllegalTransition, PostState

PAGE = 25


@organization_page("post_approve")
def needs_human(request: OrganizationRequest) -> HttpResponse:
    found = Post.objects.filter(state=PostState.NEEDS_HUMAN).select_related("bot", "connection").order_by("-sent_at")
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    context = {
        "posts": page.object_list,
        "previous_url": f"?page={page.previous_page_number()}" if page.has_previous() else "",
        "next_url": f"?page={page.next_page_number()}" if page.has_next() else "",
    }
    return render(request, "bots/needs_human.html", context)


@require_POST
@organization_page("post_approve")
def confirm(request: OrganizationRequest, post_id: UUID) -> HttpResponse:
    reference = request.POST.get("reference", "")
    return _decide(request, post_id, lambda: services.confirm_published(post_id, reference), "Booked as published.")


@require_POST
@organization_page("post_approve")
def send_again(request: OrganizationRequest, post_id: UUID) -> HttpResponse:
    return _decide(request, post_id, lambda: services.send_again(post_id), "It is sent again.")


@require_POST
@organization_page("post_approve")
def give_up(request: OrganizationRequest, post_id: UUID) -> HttpResponse:
    return _decide(request, post_id, lambda: services.give_up(post_id), "It is not sent again.")


def _decide(request: OrganizationRequest, post_id: UUID, verb: Callable[[], Post], done: str) -> HttpResponse:
    if not Post.objects.filter(pk=post_id).exists():
        raise Http404
    try:
        verb()
    except IllegalTransition as error:
        messages.error(request, str(error))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, done)
    return redirect("bots:needs-human", request.organization.slug)
