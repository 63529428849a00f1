"""Pages of single versions: one, two side by side, their tags and their files."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from accounts.streamed import download
from bots.models import Bot
from bots.views import bot_context, bot_or_404
from training import figures, lineage, model_archive, reports
from training.artifacts import ArtifactError
from training.models import ModelVersion
from training.playground_forms import UploadForm
from training.services import run_choices, uploads, versions
from training.views import of_bot

CHILDREN = 20
"""Children of a version that its page names, the newest."""


@organization_page("model_view")
def model_detail(request: OrganizationRequest, bot_id: UUID, version_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    rows = ModelVersion.objects.filter(Q(pk=version_id) | Q(is_current=True), bot=bot).select_related("parent", "run")
    found = {row.pk: row for row in rows}
    version = found.get(version_id)
    if version is None:
        raise Http404
    current = next((row for row in found.values() if row.is_current), None)
    trials = lineage.trials_of(bot, [version])
    context = bot_context(bot, "models") | {
        "version": version,
        "standing": lineage.standings([version], trials).get(version.pk),
        "current": current,
        "goes_back": current is not None and version.number < current.number,
        "canary": lineage.running_of(trials),
        "children": version.children.order_by("-number")[:CHILDREN],
        "figures": figures.figures(version),
        "sections": reports.sections(version.report),
        "samples": figures.samples_of([version]).get(version.pk),
    }
    return render(request, "training/model_detail.html", context)


@organization_page("model_view")
def model_compare(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """Two versions side by side: `?version=<id>&version=<id>`; the older one stands first."""
    bot = bot_or_404(bot_id)
    found = _chosen(bot, request.GET.getlist("version"))
    if len(found) != 2:
        messages.error(request, "Choose two versions to compare.")
        return redirect("training:models", request.organization.slug, bot.pk)
    first, second = found
    samples = figures.samples_of(found)
    context = bot_context(bot, "models") | {
        "first": first,
        "second": second,
        "figures": figures.figures(first, second),
        "settings": run_choices.differences([run for run in (first.run, second.run) if run]),
        "samples": [(version, samples.get(version.pk)) for version in found],
    }
    return render(request, "training/model_compare.html", context)


def _chosen(bot: Bot, ids: list[str]) -> list[ModelVersion]:
    """The bot's versions with these ids, oldest first. Raises Http404 for what is no id."""
    try:
        wanted = [UUID(each) for each in ids]
    except ValueError:
        raise Http404 from None
    rows = ModelVersion.objects.filter(bot=bot, pk__in=wanted).select_related("run")
    return list(rows.prefetch_related("run__sources__dataset").order_by("number"))


@require_POST
@organization_page("model_promote")
def model_tag(request: OrganizationRequest, bot_id: UUID, version_id: UUID) -> HttpResponse:
    """Replace a version's tags with those of `tags`, separated by commas."""
    version = of_bot(ModelVersion, bot_or_404(bot_id), version_id)
    tags = [tag.strip() for tag in request.POST.get("tags", "").split(",") if tag.strip()]
    try:
        versions.tag_version(version.pk, tags)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "The tags are saved.")
    return redirect("training:model-detail", request.organization.slug, bot_id, version_id)


@organization_page("model_view")
def model_download(request: OrganizationRequest, bot_id: UUID, version_id: UUID) -> HttpResponseBase:
    """The version as a zip of a model folder."""
    bot = bot_or_404(bot_id)
    version = of_bot(ModelVersion, bot, version_id)
    try:
        files = model_archive.files_of(version.folder)
    except ArtifactError as error:
        messages.error(request, str(error))
        return redirect("training:model-detail", request.organization.slug, bot_id, version_id)
    name, size = f"{bot.name}-v{version.number}.zip", model_archive.zipped_size(files)
    return download(model_archive.zipped(files), name, "application/zip", size=size)


@require_POST
@organization_page("model_promote")
def model_upload(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """Make a version of an uploaded model; the page of its first text shows whether it loads."""
    bot = bot_or_404(bot_id)
    form = UploadForm(request.POST, request.FILES)
    refused: Any = form.errors
    if form.is_valid():
        try:
            data = form.cleaned_data
            version, first_text = uploads.upload_version(bot, data["file"], data["base"] or "uploaded")
        except ValidationError as error:
            refused = error.messages
        else:
            messages.success(request, f"{version} is stored. Its first text shows whether it can be loaded.")
            return redirect("training:playground-texts", request.organization.slug, bot.pk, first_text.pk)
    words = refused if isinstance(refused, list) else [word for field in refused.values() for word in field]
    messages.error(request, " ".join(map(str, words)))
    return redirect("training:models", request.organization.slug, bot.pk)
