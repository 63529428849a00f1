"""The numbers of runs, as charts and spreadsheets read them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.http import JsonResponse

from accounts.access import OrganizationRequest, organization_page
from accounts.csv_out import csv_blocks
from accounts.streamed import Streamed, download
from bots.models import Bot
from bots.views import bot_or_404
from training import queries, series
from training.models import Run
from training.services.run_choices import MOST_BESIDE, pinned_beside
from training.views import of_bot


class SeriesForm(forms.Form):
    """What the charts ask for."""

    after = forms.IntegerField(required=False, min_value=-1, max_value=series.LAST_STEP)
    before = forms.IntegerField(required=False, min_value=0, max_value=series.LAST_STEP)
    smooth = forms.ChoiceField(required=False, choices=[(width, width) for width in series.SMOOTHINGS])

    def asked(self, names: list[str]) -> dict[str, Any]:
        data = self.cleaned_data
        after = -1 if data["after"] is None else data["after"]
        return {"after": after, "before": data["before"], "smooth": int(data["smooth"] or 0), "names": names}


def _answer(request: OrganizationRequest, runs: list[Run]) -> JsonResponse:
    form = SeriesForm(request.GET)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    return JsonResponse({"runs": series.runs_as_json(runs, **form.asked(request.GET.getlist("name")))})


@organization_page("run_view")
def bot_series(request: OrganizationRequest, bot_id: UUID) -> JsonResponse:
    return _answer(request, queries.latest_runs(bot_or_404(bot_id)))


@organization_page("run_view")
def run_series(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> JsonResponse:
    """The run, the one that is pinned beside it, and those that `run` names."""
    bot = bot_or_404(bot_id)
    run = of_bot(Run, bot, run_id)
    return _answer(request, [run, *pinned_beside(run), *_beside(request, bot, run)])


def _beside(request: OrganizationRequest, bot: Bot, run: Run) -> list[Run]:
    form = forms.UUIDField(required=False)
    try:
        wanted = {form.clean(each) for each in request.GET.getlist("run")[:MOST_BESIDE]}
    except forms.ValidationError:
        return []
    return list(Run.objects.filter(bot=bot, pk__in=wanted, pinned=False).exclude(pk=run.pk))


@organization_page("run_view")
def run_csv(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> Streamed:
    return metrics_csv(of_bot(Run, bot_or_404(bot_id), run_id))


def metrics_csv(run: Run) -> Streamed:
    """Every point that a run measured, as CSV."""
    name = f"{run.get_kind_display()} {run.created_at:%Y-%m-%d}.csv"
    points = series.every_point(run)  # now, within the organization: the rest is read when the view has long left it
    rows = ((point.name, point.step, point.value, point.at) for point in points)
    return download(csv_blocks(("metric", "step", "value", "at"), rows), name, "text/csv; charset=utf-8")
