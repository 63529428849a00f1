"""Which posts a list over the API shows."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters

from accounts.moments import MomentFilter
from bots.models import Post

SEARCHED = 10_000
"""How many posts a search for words looks through, the newest first: no index helps it, so a bound does."""


class PostFilter(filters.FilterSet):
    bot = filters.UUIDFilter(field_name="bot_id")
    state = filters.ChoiceFilter(choices=Post._meta.get_field("state").choices)
    arm = filters.ChoiceFilter(choices=Post.Arm.choices)
    kind = filters.ChoiceFilter(choices=Post.Kind.choices)
    model_version = filters.UUIDFilter(field_name="model_version_id")
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")
    published_after = MomentFilter(field_name="published_at", lookup_expr="gte")
    published_before = MomentFilter(field_name="published_at", lookup_expr="lt")
    min_reward = filters.NumberFilter(field_name="reward__value", lookup_expr="gte")
    max_reward = filters.NumberFilter(field_name="reward__value", lookup_expr="lte")
    text = filters.CharFilter(
        method="search",
        max_length=200,
        help_text=f"Words that the text holds, among the newest {SEARCHED:,} posts that the other filters leave.",
    )

    def filter_queryset(self, queryset: QuerySet[Post]) -> QuerySet[Post]:
        """The search comes last, whatever the order of the parameters."""
        words = self.form.cleaned_data.pop("text", "")
        found: QuerySet[Post] = super().filter_queryset(queryset)
        return self.search(found, "text", words) if words else found

    def search(self, queryset: QuerySet[Post], name: str, words: Any) -> QuerySet[Post]:
        newest = queryset.order_by("-created_at", "-pk").values("pk")[:SEARCHED]
        found: QuerySet[Post] = queryset.model.objects.filter(pk__in=newest, text__icontains=words)
        return found.select_related("reward", "connection").prefetch_related("images", "verdicts")
