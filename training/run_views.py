"""Pages of runs: their list, starting one, watching it, steering it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import OuterRef, Prefetch, Subquery
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.models import Bot
from bots.views import add_errors, bot_context, bot_or_404
from training import reports
from training.forms import RunForm
from training.models import Dataset, Round, Run, RunDataset
from training.run_pages import shown_of
from training.services import canaries, reconfiguration, runs, stedden, versions
from training.settings_forms import SettingsForm, change_form, settings_of, start_form
from training.views import of_bot, page_of


@organization_page("run_view")
def run_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    return _run_list(request, bot, RunForm(bot), _settings_forms())


def _settings_forms(data: Any = None) -> dict[str, SettingsForm]:
    return {kind: start_form(kind, data) for kind in Run.Kind.values}


def _run_list(
    request: OrganizationRequest, bot: Bot, form: RunForm, settings_forms: dict[str, SettingsForm]
) -> HttpResponse:
    last = Round.objects.filter(run=OuterRef("pk")).order_by("-number")
    found = Run.objects.filter(bot=bot).prefetch_related(
        Prefetch("sources", RunDataset.objects.select_related("dataset").only("run", "dataset__name"))
    )
    found = found.annotate(
        last_round=Subquery(last.values("number")[:1]), last_lift=Subquery(last.values("metrics__lift")[:1])
    )
    page, urls = page_of(request, found)
    for run in page.object_list:
        run.headline = _headline(run)
    settings = [(Run.Kind(kind).label, each) for kind, each in settings_forms.items()]
    context = bot_context(bot, "runs") | urls
    context |= {"runs": page.object_list, "form": form, "settings_forms": settings}
    context["has_datasets"] = Dataset.objects.filter(bot=bot).exists  # asked for only where there is no run
    wrong = form.errors or any(each.errors for each in settings_forms.values())
    return render(request, "training/run_list.html", context, status=400 if wrong else 200)


def _headline(run: Any) -> str:
    if run.kind == Run.Kind.OFFLINE:
        loss = run.progress.get("best_heldout_loss")
        return f"held-out loss {loss:.3f}" if loss is not None else ""
    if run.last_round is None:
        return ""
    return f"round {run.last_round}" + (f", lift {run.last_lift:+.2f} sd" if run.last_lift is not None else "")


@require_POST
@organization_page("run_control")
def run_start(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = RunForm(bot, request.POST)
    settings_forms = _settings_forms(request.POST)
    if form.is_valid() and settings_forms[form.cleaned_data["kind"]].is_valid():
        try:
            run = _start(bot, form, settings_forms[form.cleaned_data["kind"]].changes())
        except ValidationError as error:
            add_errors(form, error)
        else:
            if form.cleaned_data["preset"] == "stedden":
                messages.success(request, "The rules for replies are set. Turn replies on when the version is there.")
            return redirect("training:run-detail", request.organization.slug, bot.pk, run.pk)
    return _run_list(request, bot, form, settings_forms)


def _start(bot: Bot, form: RunForm, settings: dict[str, Any]) -> Run:
    data = form.cleaned_data
    config = form.config() | settings
    if data["kind"] == Run.Kind.OFFLINE:
        begin = stedden.start if data["preset"] == "stedden" else runs.start_finetune
        return begin(bot, data["sources"], config)
    version = data["version"] or versions.current_version(bot)
    if version is None:
        raise ValidationError({"version": "This bot has no model of its own yet: fine-tune one first."})
    return runs.start_online(bot, version, config)


@organization_page("run_view")
def run_detail(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    run = Run.objects.filter(pk=run_id, bot=bot).select_related("start_version").first()
    if run is None:
        raise Http404
    return _run_detail(request, bot, run, None)


def _run_detail(request: OrganizationRequest, bot: Bot, run: Run, form: SettingsForm | None) -> HttpResponse:
    living, online = run.state in Run.LIVING, run.kind == Run.Kind.ONLINE
    if form is None and living and online:
        form = change_form(run)
    rounds = list(run.rounds.select_related("version").order_by("-number")[:50]) if online else []
    report = rounds[0].report if rounds else {}
    context = bot_context(bot, "runs") | {
        "run": run,
        "rounds": rounds,
        "readings": report.get("watchdog", ()),
        "sections": reports.sections(report),
        "canary": canaries.running(bot) if online else None,
        "sources": [] if online else run.sources.select_related("dataset"),
        "settings": settings_of(run),
        "changes": reconfiguration.changes_of(run) if online else [],
        "change_form": form,
        "may_pause": living and run.wish == Run.Wish.RUN,
        "may_resume": living and run.wish == Run.Wish.PAUSE,
        "may_stop": living and run.wish != Run.Wish.STOP,
    }
    context |= shown_of(run, rounds[0].metrics if rounds else ())
    return render(request, "training/run_detail.html", context, status=400 if form and form.errors else 200)


@require_POST
@organization_page("run_control")
def run_configure(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> HttpResponse:
    """Change settings of a living run."""
    bot = bot_or_404(bot_id)
    run = of_bot(Run, bot, run_id)
    form = change_form(run, request.POST)
    if form.is_valid():
        try:
            reconfiguration.reconfigure(run.pk, form.changes())
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "The settings count from the next round on.")
            return redirect("training:run-detail", request.organization.slug, bot.pk, run.pk)
    return _run_detail(request, bot, run, form)


def _control(request: OrganizationRequest, bot_id: UUID, run_id: UUID, verb: Any, words: str) -> HttpResponse:
    bot = bot_or_404(bot_id)
    run = of_bot(Run, bot, run_id)
    try:
        verb(run.pk)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, words)
    return redirect("training:run-detail", request.organization.slug, bot.pk, run.pk)


@require_POST
@organization_page("run_control")
def run_pause(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> HttpResponse:
    return _control(
        request, bot_id, run_id, runs.pause_run, "The run pauses at the end of its present step; nothing is lost."
    )


@require_POST
@organization_page("run_control")
def run_resume(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> HttpResponse:
    return _control(request, bot_id, run_id, runs.resume_run, "The run goes on.")


@require_POST
@organization_page("run_control")
def run_stop(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> HttpResponse:
    return _control(request, bot_id, run_id, runs.stop_run, "The run stops at the end of its present step.")
