"""Training in the operator's panel: runs across organizations, and what of it waits or came to nothing."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from accounts.operator import LookAcross
from bots.operator import jobs
from training.models import Generation, Run


@admin.register(Run)
class RunAdmin(LookAcross):
    list_display = ("kind", "organization", "bot_name", "state", "wish", "created_at", "finished_at")
    list_filter = ("state", "kind")
    search_fields = ("organization__name", "bot__name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("bot")

    @admin.display(description="bot")
    def bot_name(self, run: Run) -> str:
        return run.bot.name


def runs() -> jobs.Section:
    """Runs that live, those without a worker marked, and the newest that failed."""
    # everyone: the operator looks after the whole installation.
    living = Run.everyone.filter(state__in=[Run.State.QUEUED, Run.State.RUNNING]).order_by("created_at")
    # everyone: as above.
    lost = set(Run.everyone.filter(state=Run.State.RUNNING, lease_until__lt=Now()).values_list("pk", flat=True)[:1000])
    # everyone: as above.
    failed = Run.everyone.filter(state=Run.State.FAILED).order_by("-created_at")
    shown = [*living.select_related("organization", "bot")[: jobs.MOST]]
    shown += failed.select_related("organization", "bot")[: jobs.MOST + 1 - len(shown)]
    rows = [
        jobs.Row(
            (
                run.organization,
                run.bot,
                run.get_kind_display(),
                "Its worker vanished" if run.pk in lost else run.get_state_display(),
                run.error[:120],
                jobs.since(run.started_at or run.created_at),
            ),
            wrong=run.pk in lost or run.state == Run.State.FAILED,
            url=f"/operator/training/run/{run.pk}/change/",
        )
        for run in shown
    ]
    columns = ("Organization", "Bot", "Run", "What it does", "Error", "Since")
    return jobs.table("Training", columns, rows, "No run waits, runs or failed.")


def generations() -> jobs.Section:
    """Texts that people asked for and do not have yet."""
    # everyone: as above.
    waiting = Generation.everyone.filter(state=Generation.State.QUEUED).select_related("organization", "bot")
    rows = [
        jobs.Row((each.organization, each.bot, each.count, jobs.since(each.created_at)))
        for each in waiting.order_by("created_at")[: jobs.MOST + 1]
    ]
    return jobs.table("Texts that are asked for", ("Organization", "Bot", "Texts", "Since"), rows, "None waits.")


jobs.SECTIONS += [runs, generations]
