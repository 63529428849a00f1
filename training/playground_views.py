"""Pages where people try versions out: the playground, and the time machine that asks several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.models import Bot, Verdict
from bots.states import PostState
from bots.views import add_errors, bot_context, bot_or_404
from training import drawn, lineage, streaming
from training.models import Generation, ModelVersion, Run
from training.playground_forms import DrawingForm, PlaygroundForm, TimeMachineForm, initial_of
from training.services import generations, playground
from training.views import of_bot

LATEST = 8
"""Earlier requests that a page links to."""
BRIEF = ("id", "prompt", "state", "created_at", "version__number", "group")
"""What a link to a request needs: the texts are long."""


@organization_page("model_view")
def playground_page(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """An empty playground; `?version=` chooses the version."""
    bot = bot_or_404(bot_id)
    asked = _ids(request.GET.getlist("version"))[:1]
    chosen = ModelVersion.objects.filter(bot=bot, pk__in=asked).values_list("pk", flat=True).first()
    return _playground(request, bot, PlaygroundForm(bot, initial={"version": chosen} if chosen else {}))


@organization_page("model_view")
def playground_texts(request: OrganizationRequest, bot_id: UUID, generation_id: UUID) -> HttpResponse:
    """The texts of one request, and the playground as it was set."""
    bot = bot_or_404(bot_id)
    generation = of_bot(Generation, bot, generation_id)
    return _playground(request, bot, PlaygroundForm(bot, initial=initial_of(generation)), generation)


def _playground(
    request: OrganizationRequest, bot: Bot, form: PlaygroundForm, generation: Generation | None = None
) -> HttpResponse:
    asked = Generation.objects.filter(bot=bot, group__isnull=True, into_queue=False).order_by("-created_at")
    context = (
        bot_context(bot, "playground")
        | {
            "form": form,
            "generation": generation,
            "has_versions": bool(form["version"].field.choices),  # type: ignore[attr-defined]
            "latest": asked.values(*BRIEF)[:LATEST],
        }
    )
    if generation is not None:
        context |= _shown(generation, _training(bot, [generation]))
    return render(request, "training/playground.html", context, status=400 if form.errors else 200)


def _training(bot: Bot, asked: Sequence[Generation]) -> Run | None:
    """The bot's run that keeps the worker from requests which wait."""
    if all(generation.state != Generation.State.QUEUED for generation in asked):
        return None
    return Run.objects.filter(bot=bot, state=Run.State.RUNNING).first()


def _shown(generation: Generation, trained: Run | None) -> dict[str, Any]:
    """What a page shows of a request: its texts, or how long it waits and what may keep it."""
    if generation.state != Generation.State.QUEUED:
        return {"texts": drawn.drawn(generation), "bands": drawn.BANDS}
    return {"waiting": drawn.waiting(generation), "trained": trained, "places": range(generation.count)}


@require_POST
@organization_page("generate")
def playground_draw(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = PlaygroundForm(bot, request.POST)
    if form.is_valid():
        try:
            generation = generations.request_generation(bot, version=form.cleaned_data["version"], **form.asked())
        except ValidationError as error:
            add_errors(form, error)
        else:
            return redirect("training:playground-texts", request.organization.slug, bot.pk, generation.pk)
    return _playground(request, bot, form)


@organization_page("model_view")
def playground_events(request: OrganizationRequest, bot_id: UUID, generation_id: UUID) -> HttpResponseBase:
    """The texts of a request while they are drawn, as server-sent events."""
    generation = of_bot(Generation, bot_or_404(bot_id), generation_id)
    return streaming.response(generation, lambda row: {"state": row.state})


@require_POST
@organization_page("post_write")
def playground_propose(request: OrganizationRequest, bot_id: UUID, generation_id: UUID) -> HttpResponse:
    """Propose text number `index` as a post."""
    generation = of_bot(Generation, bot_or_404(bot_id), generation_id)
    index = request.POST.get("index", "")
    try:
        post = playground.propose_text(generation.pk, int(index) if index.isascii() and index.isdigit() else -1)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        label = post.get_state_display().lower()
        if post.state == PostState.BLOCKED:
            why = post.verdicts.filter(value=Verdict.Value.BLOCK).values_list("reason", flat=True)
            messages.warning(request, f"A rule blocked it: {' '.join(why)} It is under Posts, where it can be edited.")
        else:
            messages.success(request, f"It is a post now, {label}. It is found under Posts.")
    if generation.group:
        return redirect("training:time-machine-texts", request.organization.slug, bot_id, generation.group)
    return redirect("training:playground-texts", request.organization.slug, bot_id, generation.pk)


@organization_page("model_view")
def time_machine(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """An empty time machine; `?version=` chooses versions, otherwise a few are chosen across the bot's life. `?prompt=`
    is what to ask.
    """
    bot = bot_or_404(bot_id)
    asked = ModelVersion.objects.filter(bot=bot, pk__in=_ids(request.GET.getlist("version")))
    chosen = [version.pk for version in list(asked) or lineage.spread(bot)]
    asked_prompt = {"prompt": request.GET.get("prompt", "")[:1000]}
    return _time_machine(request, bot, TimeMachineForm(bot, initial={"versions": chosen} | asked_prompt))


@organization_page("model_view")
def time_machine_texts(request: OrganizationRequest, bot_id: UUID, group: UUID) -> HttpResponse:
    """What the versions wrote, side by side. Filled as answers arrive."""
    bot = bot_or_404(bot_id)
    found = list(Generation.objects.filter(bot=bot, group=group).select_related("version").order_by("version__number"))
    if not found:
        raise Http404
    chosen = [generation.version_id for generation in found]
    form = TimeMachineForm(bot, initial=initial_of(found[0]) | {"versions": chosen})
    return _time_machine(request, bot, form, found)


def _time_machine(
    request: OrganizationRequest, bot: Bot, form: DrawingForm, found: Sequence[Generation] = ()
) -> HttpResponse:
    trained = _training(bot, found)
    context = bot_context(bot, "time-machine") | {
        "form": form,
        "has_versions": len(form["versions"].field.choices) > 1,  # type: ignore[attr-defined]
        "answers": [{"generation": generation, **_shown(generation, trained)} for generation in found],
        "group": found[0].group if found else None,
        "open": any(generation.state == Generation.State.QUEUED for generation in found),
        "bands": drawn.BANDS,
        "latest": _latest_groups(bot),
    }
    return render(request, "training/time_machine.html", context, status=400 if form.errors else 200)


def _latest_groups(bot: Bot) -> list[dict[str, Any]]:
    """The newest comparisons, each with how many versions it asked."""
    newest = Generation.objects.filter(bot=bot, group__isnull=False).order_by("-created_at").values(*BRIEF)
    found: dict[Any, dict[str, Any]] = {}
    for row in newest[: LATEST * playground.MOST_VERSIONS]:
        found.setdefault(row["group"], {**row, "versions": 0})["versions"] += 1
    return list(found.values())[:LATEST]


@require_POST
@organization_page("generate")
def time_machine_start(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = TimeMachineForm(bot, request.POST)
    if form.is_valid():
        try:
            asked = playground.compare_versions(bot, versions=list(form.cleaned_data["versions"]), **form.asked())
        except ValidationError as error:
            add_errors(form, error)
        else:
            return redirect("training:time-machine-texts", request.organization.slug, bot.pk, asked[0].group)
    return _time_machine(request, bot, form)


def _ids(given: Sequence[str]) -> list[UUID]:
    """Those of the texts that are ids."""
    found = []
    for each in given:
        try:
            found.append(UUID(each))
        except ValueError:
            continue
    return found
