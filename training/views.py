"""Pages of training: datasets, runs, model versions, and the panels that a bot's overview fetches."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.models import Bot
from bots.views import add_errors, bot_context, bot_or_404
from training import home, queries
from training.dataset_statistics import statistics_of
from training.forms import ColumnsForm, DatasetForm, FiltersForm
from training.imports import FORMATS
from training.models import Dataset
from training.services import datasets

PAGE = 50


def of_bot(kind: type[Model], bot: Bot, pk: UUID) -> Any:
    """The row of this bot with this id. Raises Http404."""
    found = kind._default_manager.filter(pk=pk, bot=bot).first()
    if found is None:
        raise Http404
    return found


def page_of(request: OrganizationRequest, rows: QuerySet[Any]) -> tuple[Page[Any], dict[str, str]]:
    """The page of rows that was asked for, and where its neighbours are."""
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    urls = {
        "previous_url": f"?page={page.previous_page_number()}" if page.has_previous() else "",
        "next_url": f"?page={page.next_page_number()}" if page.has_next() else "",
    }
    return page, urls


@organization_page("dataset_view")
def dataset_list(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    page, urls = page_of(request, Dataset.objects.filter(bot=bot))
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
    dataset = of_bot(Dataset, bot, dataset_id)
    if dataset.state in (Dataset.State.READY, Dataset.State.IMPORTING):
        return redirect("training:dataset-detail", request.organization.slug, bot.pk, dataset.pk)
    about_filters = "filters" in request.POST
    form = ColumnsForm(
        dataset.preview.get("columns_found", []),
        None if about_filters else request.POST or None,
        initial=dataset.columns,
    )
    filters = FiltersForm(datasets.chosen_filters(dataset), request.POST if about_filters else None)
    if request.method == "POST" and request.membership.allows("dataset_edit"):
        if about_filters and filters.is_valid():
            dataset = datasets.look_through(dataset, filters=filters.chosen())
        elif not about_filters and form.is_valid():
            dataset = datasets.look_through(dataset, form.cleaned_data)
    preview = {}
    if "kept" in dataset.preview:
        label = FORMATS[dataset.format].label if dataset.format in FORMATS else dataset.format
        preview = dataset.preview | {"format": label, "columns": dataset.columns}
    losses = left_out(preview)
    context = bot_context(bot, "datasets") | {
        "dataset": dataset,
        "preview": preview,
        "losses": losses,
        "lost": sum(each["rows"] for each in losses),
        "form": form if dataset.preview.get("columns_found") else None,
        "filters": filters.rows(preview.get("filters", [])),
    }
    return render(request, "training/dataset_preview.html", context)


def left_out(preview: dict[str, Any]) -> list[dict[str, Any]]:
    """What an import would leave out: why, how many rows, and the first of them with their texts where known."""
    if not preview:
        return []
    rows = preview.get("dropped_rows", {})
    found = [
        {"why": reason.capitalize(), "rows": count, "examples": [{"row": row} for row in rows.get(reason, [])]}
        for reason, count in preview["dropped"].items()
    ]
    found += [
        {"why": report["label"], "rows": report["dropped"], "examples": report["examples"]}
        for report in preview["filters"]
        if report["dropped"]
    ]
    if preview["problem_count"]:
        broken = [{"row": each["row"], "reason": each["reason"]} for each in preview["problems"][:3]]
        found.append({"why": "Broken", "rows": preview["problem_count"], "examples": broken})
    return sorted(found, key=lambda each: -each["rows"])


@require_POST
@organization_page("dataset_edit")
def dataset_import(request: OrganizationRequest, bot_id: UUID, dataset_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    dataset = of_bot(Dataset, bot, dataset_id)
    try:
        datasets.request_import(dataset.pk, only_good=request.POST.get("good_rows_only") == "on")
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("training:dataset-preview", request.organization.slug, bot.pk, dataset.pk)
    messages.success(request, "The posts are being imported.")
    return redirect("training:dataset-detail", request.organization.slug, bot.pk, dataset.pk)


@organization_page("dataset_view")
def dataset_card(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    dataset = Dataset.objects.filter(bot=bot, state=Dataset.State.READY).first()
    shown = None
    if dataset is not None:
        facts = statistics_of(dataset)
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
def lift_panel(request: OrganizationRequest, bot_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    return render(request, "training/_lift_panel.html", {"bot": bot} | home.verdict(bot, request.membership))


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
