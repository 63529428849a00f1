"""Pages of the panel that are no list of rows: the review queue, and the jobs."""

from __future__ import annotations

import re

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from accounts.operator import operator_page, panel
from bots.models import Sanction
from bots.operator import acting, jobs, queue

BACK = re.compile(r"/operator/[\w/?=&-]*")
"""Pages of the panel."""


@operator_page("bots.view_report")
def review_queue(request: HttpRequest) -> HttpResponse:
    wanted = request.GET.get("kind", "")
    kind = wanted if wanted in queue.KINDS else ""
    found, counts = queue.items(kind)
    tabs = [("", "All", sum(counts.values())), *((name, label, counts[name]) for name, label in queue.KINDS.items())]
    context = {
        "items": found[: queue.PAGE],
        "more": max(0, len(found) - queue.PAGE),
        "tabs": tabs,
        "kind": kind,
        "grades": Sanction.Grade.choices,
    }
    return panel(request, "operator/queue.html", "Review queue", context)


@operator_page("accounts.view_site")
def jobs_page(request: HttpRequest) -> HttpResponse:
    return panel(request, "operator/jobs.html", "Jobs", {"sections": jobs.sections()})


@operator_page("bots.change_report")
@require_POST
def act(request: HttpRequest) -> HttpResponse:
    """Do one thing from a page of the panel, and go back there."""
    try:
        messages.success(request, acting.act(request.POST.get("verb", ""), request.POST.get("id", ""), request.POST))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    back = request.POST.get("back", "")
    return redirect(back if BACK.fullmatch(back) else "operator-queue")
