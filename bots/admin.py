"""Bots and posts in the operator's panel: look across organizations, pause bots, take posts out of circulation."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts import audit
from accounts.models import User
from accounts.operator import LookAcross
from accounts.tenancy import tenant
from bots.models import Bot, Post
from bots.services import bots, delivery, posts
from bots.states import IllegalTransition
from faces.contract import FaceError


def _operator(request: HttpRequest) -> audit.Actor:
    return audit.Actor(f"operator {request.user}", request.user if isinstance(request.user, User) else None)


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
            with tenant(bot.organization_id), audit.acting(_operator(request)):
                bots.pause_bot(bot, "Paused by the operator.")
        messages.success(request, f"Paused {len(queryset)} bot(s).")


@admin.register(Post)
class PostAdmin(LookAcross):
    list_display = ("short_text", "organization", "state", "arm", "published_at", "created_at")
    list_filter = ("state", "arm")
    search_fields = ("text", "organization__name")
    actions = ("decline", "take_down")

    @admin.display(description="text")
    def short_text(self, post: Post) -> str:
        return post.text[:80] or "(image)"

    @admin.action(description="Decline: these waiting posts are not published")
    def decline(self, request: HttpRequest, queryset: QuerySet[Post]) -> None:
        self._each(request, queryset, lambda post: posts.decline_post(post.pk, "Declined by the operator."))

    @admin.action(description="Take these published posts down from their platforms")
    def take_down(self, request: HttpRequest, queryset: QuerySet[Post]) -> None:
        self._each(request, queryset, lambda post: delivery.take_down_post(post.pk))

    def _each(self, request: HttpRequest, queryset: QuerySet[Post], verb: Any) -> None:
        done = 0
        for post in queryset:
            with tenant(post.organization_id), audit.acting(_operator(request)):
                try:
                    verb(post)
                    done += 1
                except (IllegalTransition, ValidationError, FaceError) as error:
                    messages.error(request, f"{post}: {error}")
        if done:
            messages.success(request, f"Done for {done} post(s).")
