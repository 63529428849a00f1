"""Pages of model versions: what each is, which one speaks, and the trials of new ones."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.views import bot_context, bot_or_404
from training import lineage
from training.models import Canary, ModelVersion
from training.playground_forms import UploadForm
from training.services import canaries, versions
from training.views import of_bot, page_of

HEADLINES = {"heldout_loss": "held-out loss", "lift": "lift, sd", "kl": "KL", "distinct_2": "distinct-2"}
"""What the list of versions says of each, of all that was measured."""
LATEST_TRIALS = 10


@organization_page("model_view")
def model_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    page, urls = page_of(request, ModelVersion.objects.filter(bot=bot).select_related("parent"))
    found = list(page.object_list)
    places = lineage.drawn(bot, found)
    trials = lineage.trials_of(bot, found)
    standing = lineage.standings(found, trials)
    for version in found:
        shown = ((label, version.metrics.get(name)) for name, label in HEADLINES.items())
        version.headlines = [(label, value) for label, value in shown if value is not None]
        version.place, version.standing = places[version.pk], standing.get(version.pk)
    ended = Canary.objects.filter(bot=bot).exclude(state=Canary.State.RUNNING).select_related("version", "against")
    context = bot_context(bot, "models") | urls | {"versions": found, "canary": lineage.running_of(trials)}
    context["lanes_width"] = lineage.width(places.values())
    context["trials"] = ended[:LATEST_TRIALS]
    context["upload_form"] = UploadForm()
    return render(request, "training/model_list.html", context)


@require_POST
@organization_page("model_promote")
def model_make_current(request: OrganizationRequest, bot_id: UUID, version_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    version = versions.make_current(of_bot(ModelVersion, bot, version_id).pk, request.POST.get("reason", ""))
    messages.success(request, f"{bot.name} speaks with {version} now.")
    return redirect("training:models", request.organization.slug, bot.pk)


@require_POST
@organization_page("model_promote")
def model_try(request: OrganizationRequest, bot_id: UUID, version_id: UUID) -> HttpResponse:
    """Put a version on trial on a share of the learning posts."""
    bot = bot_or_404(bot_id)
    version = of_bot(ModelVersion, bot, version_id)
    try:
        share = float(request.POST.get("percent", "")) / 100
    except ValueError:
        share = 0.0
    words = f"{version} writes {share:.0%} of the learning posts from the next round on."
    return _act(request, bot_id, words, lambda: canaries.start_trial(version.pk, share))


def _act(request: OrganizationRequest, bot_id: UUID, words: str, verb: Any) -> HttpResponse:
    try:
        verb()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, words)
    return redirect("training:models", request.organization.slug, bot_id)


@require_POST
@organization_page("model_promote")
def canary_end(request: OrganizationRequest, bot_id: UUID, canary_id: UUID) -> HttpResponse:
    canary = of_bot(Canary, bot_or_404(bot_id), canary_id)
    return _act(request, bot_id, "The trial is over; nothing was taken over.", lambda: canaries.end_trial(canary.pk))


@require_POST
@organization_page("model_promote")
def canary_promote(request: OrganizationRequest, bot_id: UUID, canary_id: UUID) -> HttpResponse:
    canary = of_bot(Canary, bot_or_404(bot_id), canary_id)
    return _act(request, bot_id, f"{canary.version} has taken over.", lambda: versions.promote_trial(canary.pk))


@require_POST
@organization_page("model_promote")
def canary_roll_back(request: OrganizationRequest, bot_id: UUID, canary_id: UUID) -> HttpResponse:
    canary = of_bot(Canary, bot_or_404(bot_id), canary_id)
    words = f"{canary.version} was rolled back; its posts that were not sent yet are withdrawn."
    return _act(request, bot_id, words, lambda: canaries.roll_back(canary.pk))
