"""Bots and posts in the operator's panel: look across organizations, pause bots, take posts out of circulation."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from accounts import audit
from accounts.operator import LookAcross, operator
from accounts.tenancy import tenant
from bots.models import Bot, Post, Report, Sanction, SiteRule, Takedown
from bots.operator.records_admin import ReportAdmin, SanctionAdmin, TakedownAdmin
from bots.operator.rules_admin import SiteRuleAdmin
from bots.services import bots, posts, takedowns
from bots.services.rule_trials import newest_posts
from bots.states import IllegalTransition
from faces.contract import FaceError

admin.site.register(SiteRule, SiteRuleAdmin)
admin.site.register(Report, ReportAdmin)
admin.site.register(Takedown, TakedownAdmin)
admin.site.register(Sanction, SanctionAdmin)


@admin.register(Bot)
class BotAdmin(LookAcross):
    list_display = ("name", "organization", "connection_name", "approval", "paused_at", "created_at")
    search_fields = ("name", "organization__name")
    actions = ("pause",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("connection")

    @admin.display(description="speaks through")
    def connection_name(self, bot: Bot) -> str:
        return bot.connection.name

    @admin.action(description="Pause these bots")
    def pause(self, request: HttpRequest, queryset: QuerySet[Bot]) -> None:
        for bot in queryset:
            with tenant(bot.organization_id), audit.acting(operator(request)):
                bots.pause_bot(bot, "Paused by the operator.")
        messages.success(request, f"Paused {len(queryset)} bot(s).")


@admin.register(Post)
class PostAdmin(LookAcross):
    list_display = ("short_text", "organization", "state", "arm", "published_at", "created_at")
    list_filter = ("state", "arm")
    search_fields = ("text", "organization__name")
    actions = ("decline", "take_down")
    change_form_after_template = "operator/post_actions.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """All posts for who searches, or looks at one; else the newest thousand, which no index of all posts finds."""
        found = super().get_queryset(request).select_related("bot")
        match = request.resolver_match
        listed = match is not None and str(match.url_name).endswith("_changelist")
        return found.filter(pk__in=newest_posts()) if listed and not request.GET.get("q") else found

    @admin.display(description="text")
    def short_text(self, post: Post) -> str:
        return post.text[:80] or "(image)"

    @admin.action(description="Decline: these waiting posts are not published")
    def decline(self, request: HttpRequest, queryset: QuerySet[Post]) -> None:
        self._each(request, queryset, lambda post: posts.decline_post(post.pk, "Declined by the operator."))

    @admin.action(description="Take these posts down, and keep the evidence")
    def take_down(self, request: HttpRequest, queryset: QuerySet[Post]) -> None:
        reason = "Taken down by the operator."
        self._each(request, queryset, lambda post: takedowns.attempt(takedowns.take_down(post.pk, reason).pk))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "grades": Sanction.Grade.choices}
        return super().changeform_view(request, object_id, form_url, context)

    def _each(self, request: HttpRequest, queryset: QuerySet[Post], verb: Any) -> None:
        done = 0
        for post in queryset:
            with tenant(post.organization_id), audit.acting(operator(request)):
                try:
                    verb(post)
                    done += 1
                except (IllegalTransition, ValidationError, FaceError) as error:
                    messages.error(request, f"{post}: {error}")
        if done:
            messages.success(request, f"Done for {done} post(s).")
