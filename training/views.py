"""Pages of training: datasets, runs, model versions, and the panels that a bot's overview fetches."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.models import Bot
from bots.views import add_errors, bot_context, bot_or_404
from training import queries
from training.forms import ColumnsForm, DatasetForm, RunForm
from training.models import Dataset, ModelVersion, Run
from training.services import datasets, runs, versions

PAGE = 50
HEADLINES = {"heldout_loss": "held-out loss", "lift": "lift, sd", "kl": "KL", "distinct_2": "distinct-2"}
"""What the list of versions says of each, of all that was measured."""


def _of_bot(kind: type[Model], bot: Bot, pk: UUID) -> Any:
    found = kind._default_manager.filter(pk=pk, bot=bot).first()
    if found is None:
        raise Http404
    return found


def _page(request: OrganizationRequest, rows: QuerySet[Any]) -> tuple[Page[Any], dict[str, str]]:
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    urls = {
        "previous_url": f"?page={page.previous_page_number()}" if page.has_previous() else "",
        "next_url": f"?page={page.next_page_number()}" if page.has_next() else "",
    }
    return page, urls


@organization_page("dataset_view")
def dataset_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    page, urls = _page(request, Dataset.objects.filter(bot=bot))
    return render(
        request, "training/dataset_list.html", bot_context(bot, "datasets") | urls | {"datasets": page.object_list}
    )


@organization_page("dataset_edit")
def dataset_upload(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = DatasetForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            dataset = datasets.upload_dataset(bot, data.pop("file"), **data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            return redirect("training:dataset-preview", request.organization.slug, bot.pk, dataset.pk)
    context = bot_context(bot, "datasets") | {"form": form}
    return render(request, "training/dataset_upload.html", context, status=400 if form.errors else 200)


@organization_page("dataset_view")
def dataset_preview(request: OrganizationRequest, bot_id: UUID, dataset_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    dataset = _of_bot(Dataset, bot, dataset_id)
    if dataset.state in (Dataset.State.READY, Dataset.State.IMPORTING):
        return redirect("training:dataset-detail", request.organization.slug, bot.pk, dataset.pk)
    form = ColumnsForm(dataset.preview.get("columns_found", []), request.POST or None, initial=dataset.columns)
    if request.method == "POST" and request.membership.allows("dataset_edit") and form.is_valid():
        dataset = datasets.look_through(dataset, form.cleaned_data)
    preview = (
        dataset.preview | {"format": dataset.format, "columns": dataset.columns} if "kept" in dataset.preview else {}
    )
    context = bot_context(bot, "datasets") | {"dataset": dataset, "preview": preview, "form": form}
    return render(request, "training/dataset_preview.html", context)


@require_POST
@organization_page("dataset_edit")
def dataset_import(request: OrganizationRequest, bot_id: UUID, dataset_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    dataset = _of_bot(Dataset, bot, dataset_id)
    try:
        datasets.request_import(dataset.pk, only_good=request.POST.get("good_rows_only") == "on")
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("training:dataset-preview", request.organization.slug, bot.pk, dataset.pk)
    messages.success(request, "The posts are being imported.")
    return redirect("training:dataset-detail", request.organization.slug, bot.pk, dataset.pk)


@organization_page("dataset_view")
def dataset_detail(request: OrganizationRequest, bot_id: UUID, dataset_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    dataset = _of_bot(Dataset, bot, dataset_id)
    page, urls = _page(request, dataset.examples.all())
    facts = queries.dataset_facts(dataset)
    statistics = [("with a score", facts["scored"]), ("communities", facts["communities"])]
    if facts["median_length"] is not None:
        statistics.append(("characters, median", round(facts["median_length"])))
    if facts["mean"] is not None:
        statistics.append(("mean score", round(facts["mean"], 1)))
    if facts["first_at"]:
        statistics += [("from", facts["first_at"].date()), ("to", facts["last_at"].date())]
    context = (
        bot_context(bot, "datasets")
        | urls
        | {"dataset": dataset, "examples": page.object_list, "statistics": statistics}
    )
    return render(request, "training/dataset_detail.html", context)


@organization_page("dataset_view")
def dataset_card(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    dataset = Dataset.objects.filter(bot=bot, state=Dataset.State.READY).first()
    shown = None
    if dataset is not None:
        facts = queries.dataset_facts(dataset)
        shown = {
            "id": dataset.pk,
            "name": dataset.name,
            "source": dataset.source,
            "licence": dataset.licence,
            "may_learn": dataset.may_learn,
            "examples": facts["count"],
            "scored": facts["scored"],
            "first_at": facts["first_at"],
            "last_at": facts["last_at"],
        }
    return render(request, "training/_dataset_card.html", {"bot": bot, "dataset": shown})


@organization_page("run_view")
def run_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    return _run_list(request, bot, RunForm(bot))


def _run_list(request: OrganizationRequest, bot: Bot, form: RunForm) -> HttpResponse:
    page, urls = _page(request, Run.objects.filter(bot=bot).select_related("dataset"))
    for run in page.object_list:
        run.headline = _headline(run)
    context = bot_context(bot, "runs") | urls
    context |= {"runs": page.object_list, "form": form, "datasets": Dataset.objects.filter(bot=bot).exists()}
    return render(request, "training/run_list.html", context, status=400 if form.errors else 200)


def _headline(run: Run) -> str:
    if run.kind == Run.Kind.OFFLINE:
        loss = run.progress.get("best_heldout_loss")
        return f"held-out loss {loss:.3f}" if loss is not None else ""
    last = run.rounds.order_by("-number").first()
    if last is None:
        return ""
    lift = last.metrics.get("lift")
    return f"round {last.number}" + (f", lift {lift:+.2f} sd" if lift is not None else "")


@require_POST
@organization_page("run_control")
def run_start(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    form = RunForm(bot, request.POST)
    if form.is_valid():
        try:
            run = _start(bot, form)
        except ValidationError as error:
            add_errors(form, error)
        else:
            return redirect("training:run-detail", request.organization.slug, bot.pk, run.pk)
    return _run_list(request, bot, form)


def _start(bot: Bot, form: RunForm) -> Run:
    data = form.cleaned_data
    if data["kind"] == Run.Kind.OFFLINE:
        if data["dataset"] is None:
            raise ValidationError({"dataset": "Fine-tuning needs a dataset: choose one, or upload posts first."})
        return runs.start_finetune(bot, data["dataset"], form.config())
    version = data["version"] or versions.current_version(bot)
    if version is None:
        raise ValidationError({"version": "This bot has no model of its own yet: fine-tune one first."})
    return runs.start_online(bot, version, form.config())


@organization_page("run_view")
def run_detail(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    run = _of_bot(Run, bot, run_id)
    living = run.state in Run.LIVING
    context = bot_context(bot, "runs") | {
        "run": run,
        "rounds": run.rounds.select_related("version").order_by("-number")[:50],
        "sample_sets": run.sample_sets.all()[:20],
        "may_pause": living and run.wish == Run.Wish.RUN,
        "may_resume": living and run.wish == Run.Wish.PAUSE,
        "may_stop": living and run.wish != Run.Wish.STOP,
    }
    return render(request, "training/run_detail.html", context)


def _control(request: OrganizationRequest, bot_id: UUID, run_id: UUID, verb: Any, words: str) -> HttpResponse:
    bot = bot_or_404(bot_id)
    run = _of_bot(Run, bot, run_id)
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


@organization_page("model_view")
def model_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    page, urls = _page(request, ModelVersion.objects.filter(bot=bot).select_related("parent"))
    for version in page.object_list:
        shown = ((label, version.metrics.get(name)) for name, label in HEADLINES.items())
        version.headlines = [(label, value) for label, value in shown if value is not None]
    return render(
        request, "training/model_list.html", bot_context(bot, "models") | urls | {"versions": page.object_list}
    )


@require_POST
@organization_page("model_promote")
def model_make_current(request: OrganizationRequest, bot_id: UUID, version_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    version = versions.make_current(_of_bot(ModelVersion, bot, version_id).pk)
    messages.success(request, f"{bot.name} speaks with {version} now.")
    return redirect("training:models", request.organization.slug, bot.pk)


@organization_page("run_view")
def lift_panel(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    return render(request, "training/_lift_panel.html", {"bot": bot} | queries.lift(bot))


@organization_page("run_view")
def samples_panel(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    found = queries.latest_samples(bot)
    context: dict[str, Any] = {"bot": bot}
    if found is not None:
        context |= {
            "run_label": found.run.get_kind_display(),
            "run_id": found.run_id,
            "kind": found.run.kind,
            "step": found.step,
            "texts": found.texts,
        }
    return render(request, "training/_samples.html", context)


@organization_page("run_view")
def bot_series(request: OrganizationRequest, bot_id: UUID) -> JsonResponse:
    bot = bot_or_404(bot_id)
    return JsonResponse({"runs": [queries.run_series(run) for run in queries.latest_runs(bot)]})


@organization_page("run_view")
def run_series(request: OrganizationRequest, bot_id: UUID, run_id: UUID) -> JsonResponse:
    run = _of_bot(Run, bot_or_404(bot_id), run_id)
    return JsonResponse({"runs": [queries.run_series(run)]})
