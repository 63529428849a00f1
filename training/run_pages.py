"""What the pages of a run show besides its numbers: samples side by side, its log, its settings beside another's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import zip_longest
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.views import bot_context, bot_or_404
from training import run_charts, series
from training.models import Run, RunEvent
from training.services import run_choices
from training.views import of_bot, page_of

SIDE_BY_SIDE = 3
STEPS_OFFERED = 200
MOST_COMPARED = run_choices.MOST_BESIDE + 1


def samples_of(run: Run, asked: Sequence[str]) -> dict[str, Any]:
    """Samples of some steps side by side: those asked for, else the first, one from the middle and the last."""
    steps = sorted(run.sample_sets.order_by("-step").values_list("step", flat=True)[:STEPS_OFFERED])
    chosen = sorted({int(step) for step in asked if step.isascii() and step.isdigit()} & set(steps))[:SIDE_BY_SIDE]
    if not chosen and steps:
        chosen = sorted({steps[0], steps[len(steps) // 2], steps[-1]})
    texts = {each.step: each.texts for each in run.sample_sets.filter(step__in=chosen)}
    columns = [(step, texts[step]) for step in chosen if step in texts]
    rows = zip_longest(*(column for _, column in columns), fillvalue="")
    slots = [chosen[at] if at < len(chosen) else None for at in range(min(SIDE_BY_SIDE, len(steps)))]
    return {"steps": steps, "slots": slots, "columns": [step for step, _ in columns], "rows": list(rows)}


def shown_of(run: Run, measured: Collection[str]) -> dict[str, Any]:
    """What a run's page shows around its charts; `measured` are metrics that it has."""
    others = run_choices.beside(run)
    return {
        "alerts": list(run.events.filter(level=RunEvent.Level.ALERT)),
        "others": [(other.pk, run_choices.label(other)) for other in others],
        "charts": run_charts.boxes(run.kind, measured),
        "smoothings": len(series.SMOOTHINGS) - 1,
    }


@organization_page("run_view")
def run_samples(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> HttpResponse:
    """Samples of up to three steps; `step` names them."""
    bot = bot_or_404(bot_id)
    run = of_bot(Run, bot, run_id)
    context = {"run": run, "samples": samples_of(run, request.GET.getlist("step"))}
    return render(request, "training/run_samples.html", bot_context(bot, "runs") | context)


@organization_page("run_view")
def run_log(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    run = of_bot(Run, bot, run_id)
    page, urls = page_of(request, run.events.order_by("-at", "-pk"))
    return render(
        request, "training/run_log.html", bot_context(bot, "runs") | urls | {"run": run, "log": page.object_list}
    )


@organization_page("run_view")
def run_compare(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    """Runs in the same charts, and the settings that set them apart. `run` names them, the first leads."""
    bot = bot_or_404(bot_id)
    runs = _asked(request, bot.pk)
    context = bot_context(bot, "runs") | {"runs": [(run, run_choices.label(run)) for run in runs]}
    if len(runs) > 1:
        first = runs[0]
        context |= {
            "run": first,
            "differences": run_choices.differences(runs),
            "charts": run_charts.boxes(first.kind, series.names_of(first)),
            "beside": " ".join(str(run.pk) for run in runs[1:]),
            "smoothings": len(series.SMOOTHINGS) - 1,
        }
    return render(request, "training/run_compare.html", context)


def _asked(request: OrganizationRequest, bot_id: UUID) -> list[Run]:
    """The runs of the bot that the address names, in its order. Raises Http404."""
    field = forms.UUIDField()
    try:
        wanted = [field.clean(each) for each in dict.fromkeys(request.GET.getlist("run"))][:MOST_COMPARED]
    except forms.ValidationError:
        raise Http404 from None
    found = Run.objects.filter(bot=bot_id).select_related("start_version").prefetch_related("sources__dataset")
    by_id = found.in_bulk(wanted)
    return [by_id[each] for each in wanted if each in by_id]


@require_POST
@organization_page("run_control")
def run_pin(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> HttpResponse:
    """Make a run the baseline of its bot's others, or (`unpin`) no longer."""
    bot = bot_or_404(bot_id)
    run = of_bot(Run, bot, run_id)
    if "unpin" in request.POST:
        run_choices.unpin(run.pk)
        messages.success(request, "No run is the baseline of the others now.")
    else:
        run_choices.pin(run.pk)
        messages.success(request, "The charts of this bot's other runs show this one beside them, grey and dashed.")
    return redirect("training:run-detail", request.organization.slug, bot.pk, run.pk)
