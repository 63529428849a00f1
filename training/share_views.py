"""Share links: their page in the organization, and what whoever follows one sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_POST, require_safe

from accounts import clock, throttles
from accounts.access import OrganizationRequest, client_address, organization_page
from accounts.tenancy import tenant
from bots.views import add_errors, bot_context, bot_or_404
from training import share_card, shared
from training.models import ShareLink
from training.services import sharing

FOREVER = "forever"
LASTING = {"7": "7 days", "30": "30 days", "365": "1 year", FOREVER: "until it is revoked"}
VISITS_A_MINUTE = 120
"""From one address."""
CARD_SECONDS = 3600


class ShareForm(forms.Form):
    label = forms.CharField(
        max_length=120, required=False, label="For whom", help_text="Only you see this: it tells links apart."
    )
    days = forms.ChoiceField(label="How long it lasts", choices=list(LASTING.items()), initial="30")
    shows_posts = forms.BooleanField(
        label="Show the latest published posts", required=False, initial=True, help_text="Without them: numbers only."
    )

    def asked(self) -> dict[str, Any]:
        """What `make_link` takes."""
        days = self.cleaned_data["days"]
        return {
            "label": self.cleaned_data["label"],
            "shows_posts": self.cleaned_data["shows_posts"],
            "expires_at": None if days == FOREVER else clock.now() + timedelta(days=int(days)),
        }


@organization_page("bot_edit")
def links(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """The bot's links; sent, one more."""
    bot = bot_or_404(bot_id)
    form = ShareForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            sharing.make_link(bot, **form.asked())
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "The link is made: it stands first in the list.")
            return redirect("training:share-links", request.organization.slug, bot.pk)
    now = clock.now()
    living = ShareLink.objects.filter(bot=bot, revoked_at=None)[: sharing.MOST_LINKS]
    shown = [
        {"link": link, "address": sharing.address_of(link), "over": bool(link.expires_at and link.expires_at <= now)}
        for link in living
    ]
    context = bot_context(bot, "share") | {"form": form, "links": shown}
    return render(request, "training/share_links.html", context, status=400 if form.errors else 200)


@require_POST
@organization_page("bot_edit")
def revoke(request: OrganizationRequest, bot_id: UUID, share_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    if not ShareLink.objects.filter(pk=share_id, bot=bot).exists():
        raise Http404
    sharing.revoke_link(share_id)
    messages.success(request, "Revoked. Whoever has the link sees nothing any more.")
    return redirect("training:share-links", request.organization.slug, bot.pk)


@dataclass(frozen=True)
class _Visits(throttles.Limit):
    @property
    def most(self) -> int:
        return VISITS_A_MINUTE


Followed = Callable[[HttpRequest, ShareLink], HttpResponse]


def _by_link(view: Followed) -> Callable[..., HttpResponse]:
    """Give a view the link that the address names, within its organization's tenant. Nobody needs to be signed in, and
    nothing is kept by whoever carries the answer.
    """

    @require_safe
    @wraps(view)
    def wrapped(request: HttpRequest, signed: str) -> HttpResponse:
        try:
            throttles.count(_Visits("share", client_address(request) or "local"))
        except throttles.Throttled as refusal:
            answer = render(request, "training/share_gone.html", {"too_often": True}, status=429)
            answer["Retry-After"] = str(refusal.wait)
            return _private(answer)
        link = sharing.link_of(signed)
        if link is None:
            return _private(render(request, "training/share_gone.html", status=404))
        with tenant(link.organization_id):
            return view(request, link)

    return wrapped


def _private(answer: HttpResponse) -> HttpResponse:
    answer["X-Robots-Tag"] = "noindex, nofollow"
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


@_by_link
def page(request: HttpRequest, link: ShareLink) -> HttpResponse:
    """The bot's progress, to whoever has the link."""
    sharing.seen(link)
    context = {
        "shared": shared.progress_of(link),
        "shows_posts": link.shows_posts,
        "now": clock.now(),
        "address": sharing.address_of(link),
        "card": sharing.address_of(link) + "card.png",
    }
    return _private(render(request, "training/share_page.html", context))


@_by_link
def card(request: HttpRequest, link: ShareLink) -> HttpResponse:
    """The image that stands for the link where it is posted. Browsers ask each time whether it is still good."""
    found = shared.progress_of(link)
    etag = f'"{found.fingerprint}"'
    image = HttpResponse(content_type="image/png")
    unchanged = get_conditional_response(request, etag=etag, response=image)
    if unchanged is image:
        key = f"share-card:{found.fingerprint}"
        image.content = cache.get_or_set(key, lambda: share_card.draw(found), CARD_SECONDS) or b""
    answer = unchanged or image
    answer["ETag"], answer["Cache-Control"] = etag, "public, no-cache"
    answer["Cross-Origin-Resource-Policy"] = "cross-origin"
    return _private(answer)
