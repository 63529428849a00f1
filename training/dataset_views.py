"""Pages of one dataset: what it is in numbers, its posts, and whether a model may learn from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from bots.models import Bot
from bots.views import bot_context, bot_or_404
from training import queries
from training.dataset_statistics import Bar, statistics_of
from training.models import Dataset, Example
from training.services import datasets, permissions
from training.views import of_bot

PAGE = 50
FIRST_POSTS = 10
LONGEST_SEARCH = 200
WIDE, TALL, GAP = 100.0, 40.0, 0.4
"""Of a histogram's drawing, in its own units."""


@organization_page("dataset_view")
def dataset_detail(request: OrganizationRequest, bot_id: UUID, dataset_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    dataset = of_bot(Dataset, bot, dataset_id)
    facts = statistics_of(dataset)
    uses = list(queries.uses_of(dataset))
    context = bot_context(bot, "datasets") | {
        "dataset": dataset,
        "examples": dataset.examples.order_by("position")[:FIRST_POSTS],
        "facts": facts,
        "histograms": _histograms(facts),
        "tops": [
            (title, _shares(facts[name], facts["measured"]))
            for title, name in (("Authors", "top_authors"), ("Communities", "top_communities"))
            if len(facts[name]) > 1
        ],
        "uses": uses,
        "in_use": any(use.run.state in use.run.LIVING for use in uses),
        "harvest": getattr(dataset, "harvest", None),
    }
    return render(request, "training/dataset_detail.html", context)


def _histograms(facts: dict[str, Any]) -> list[dict[str, Any]]:
    known = (("Posts over time", "over_time"), ("Length in characters", "lengths"), ("Scores", "scores"))
    return [
        {"id": name, "title": title, "bars": facts[name], "drawn": drawn(facts[name])}
        for title, name in known
        if len(facts[name]) > 1
    ]


def drawn(bars: Sequence[Bar]) -> list[dict[str, float]]:
    """Where each bar of a histogram stands, and how high it is; the highest fills the drawing."""
    highest, step = max(bar.count for bar in bars), WIDE / len(bars)
    found = []
    for place, bar in enumerate(bars):
        height = TALL * bar.count / highest
        found.append(
            {
                "x": round(place * step + GAP / 2, 3),
                "y": round(TALL - height, 3),
                "width": round(step - GAP, 3),
                "height": round(height, 3),
            }
        )
    return found


def _shares(bars: Sequence[Bar], of: int) -> list[dict[str, Any]]:
    return [{"label": bar.label, "count": bar.count, "share": round(100 * bar.count / of, 1)} for bar in bars]


@organization_page("dataset_view")
def dataset_examples(request: OrganizationRequest, bot_id: UUID, dataset_id: UUID) -> HttpResponse:
    """The dataset's posts, page by page: by their places, so that the thousandth page is as quick as the first."""
    bot = bot_or_404(bot_id)
    dataset = of_bot(Dataset, bot, dataset_id)
    words = request.GET.get("text", "").replace("\0", "").strip()[:LONGEST_SEARCH]
    rows = dataset.examples.order_by("position")
    if words:
        rows = queries.holding(rows, words).order_by("position")
    after, before = (_place(request.GET.get(name, "")) for name in ("after", "before"))
    if before is not None:
        found = list(rows.filter(position__lt=before).order_by("-position")[: PAGE + 1])
        earlier, found = len(found) > PAGE, found[:PAGE][::-1]
        later = bool(found)
    else:
        found = list(rows.filter(position__gt=-1 if after is None else after)[: PAGE + 1])
        later, found = len(found) > PAGE, found[:PAGE]
        earlier = after is not None and bool(found)
    context = bot_context(bot, "datasets") | {
        "dataset": dataset,
        "examples": found,
        "words": words,
        "searched": queries.SEARCHED,
        "previous_url": _page(words, before=found[0]) if earlier else "",
        "next_url": _page(words, after=found[-1]) if later else "",
    }
    return render(request, "training/dataset_examples.html", context)


def _place(given: str) -> int | None:
    """A position in the dataset; None for what is none."""
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else None


def _page(words: str, **beyond: Example) -> str:
    places = {name: example.position for name, example in beyond.items()}
    return "?" + urlencode(({"text": words} if words else {}) | places)


@require_POST
@organization_page("dataset_edit")
def dataset_allow(request: OrganizationRequest, bot_id: UUID, dataset_id: UUID) -> HttpResponse:
    return _decided(request, bot_or_404(bot_id), dataset_id, permissions.allow, "Models may learn from these posts.")


@require_POST
@organization_page("dataset_edit")
def dataset_withdraw(request: OrganizationRequest, bot_id: UUID, dataset_id: UUID) -> HttpResponse:
    words = "The permission is taken back: no further training learns from these posts."
    return _decided(request, bot_or_404(bot_id), dataset_id, permissions.withdraw, words)


@require_POST
@organization_page("dataset_edit")
def dataset_delete(request: OrganizationRequest, bot_id: UUID, dataset_id: UUID) -> HttpResponse:
    bot = bot_or_404(bot_id)
    return _decided(request, bot, dataset_id, datasets.delete_dataset, "Deleted, with its posts and its file.")


def _decided(request: OrganizationRequest, bot: Bot, dataset_id: UUID, verb: Any, words: str) -> HttpResponse:
    dataset = of_bot(Dataset, bot, dataset_id)
    try:
        verb(dataset.pk)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, words)
    if verb is datasets.delete_dataset and not Dataset.objects.filter(pk=dataset.pk).exists():
        return redirect("training:datasets", request.organization.slug, bot.pk)
    return redirect("training:dataset-detail", request.organization.slug, bot.pk, dataset.pk)
