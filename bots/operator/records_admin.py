"""Reports, takedowns and sanctions in the operator's panel, to look up; what is to be decided stands in the review
queue.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict

from accounts import audit
from accounts.operator import LookAcross, operator
from bots.models import Report, Sanction, Takedown
from bots.operator import acting


class _Acts(LookAcross):
    """Lists whose actions are verbs of the panel, done to each chosen row by itself."""

    def each(self, request: HttpRequest, queryset: QuerySet[Any], verb: str) -> None:
        for row in queryset:
            try:
                with audit.acting(operator(request)):
                    told = acting.act(verb, str(row.pk), QueryDict())
            except ValidationError as error:
                messages.error(request, f"{row}: {' '.join(error.messages)}")
            else:
                messages.success(request, f"{row}: {told}")


class ReportAdmin(_Acts):
    list_display = ("category", "organization", "state", "created_at", "decided_by")
    list_filter = ("state", "category")
    search_fields = ("organization__name",)
    actions = ("dismiss",)

    @admin.action(description="Dismiss these reports")
    def dismiss(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        self.each(request, queryset, "report.dismiss")


class TakedownAdmin(_Acts):
    list_display = ("reason", "organization", "at", "removed_at", "attempts", "error")
    search_fields = ("organization__name", "reason")
    fields = ("organization", "post_id", "bot_id", "reason", "by", "at", "removed_at", "attempts", "error")
    change_form_after_template = "operator/evidence.html"
    actions = ("retry", "give_up")

    @admin.action(description="Try again now to take these posts down")
    def retry(self, request: HttpRequest, queryset: QuerySet[Takedown]) -> None:
        self.each(request, queryset, "takedown.retry")

    @admin.action(description="Give up: somebody saw to these by hand")
    def give_up(self, request: HttpRequest, queryset: QuerySet[Takedown]) -> None:
        self.each(request, queryset, "takedown.give_up")


class SanctionAdmin(_Acts):
    list_display = ("grade", "organization", "bot_name", "at", "until", "lifted_at", "appeal")
    list_filter = ("grade", "appeal")
    search_fields = ("organization__name", "reason")
    actions = ("lift",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("bot")

    @admin.display(description="bot")
    def bot_name(self, sanction: Sanction) -> str:
        return sanction.bot.name if sanction.bot else "all"

    @admin.action(description="Lift these sanctions")
    def lift(self, request: HttpRequest, queryset: QuerySet[Sanction]) -> None:
        self.each(request, queryset, "sanction.lift")
