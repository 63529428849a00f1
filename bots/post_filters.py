"""Which posts a list shows, over the API and on the page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import OuterRef, QuerySet, Subquery
from django_filters import rest_framework as filters

from accounts.moments import MomentFilter
from bots import calendar
from bots.models import Post, Reward

SEARCHED = 10_000
"""How many posts a search for words looks through, the newest first: no index helps it, so a bound does."""


class _IdsFilter(filters.BaseInFilter, filters.UUIDFilter):
    pass


class PostFilter(filters.FilterSet):
    ids = _IdsFilter(field_name="pk", lookup_expr="in", help_text="Only these, with commas between them.")
    bot = filters.UUIDFilter(field_name="bot_id")
    state = filters.ChoiceFilter(choices=Post._meta.get_field("state").choices)
    arm = filters.ChoiceFilter(choices=Post.Arm.choices)
    kind = filters.ChoiceFilter(choices=Post.Kind.choices)
    model_version = filters.UUIDFilter(field_name="model_version_id")
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")
    published_after = MomentFilter(field_name="published_at", lookup_expr="gte")
    published_before = MomentFilter(field_name="published_at", lookup_expr="lt")
    slot_after = MomentFilter(field_name="slot_utc", lookup_expr="gte")
    slot_before = MomentFilter(field_name="slot_utc", lookup_expr="lt")
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


NARROWING = {
    "arm": "arm",
    "kind": "kind",
    "version": "provenance__version",
    "min_reward": "worth__gte",
    "max_reward": "worth__lte",
    "text": "text__icontains",
}
"""Field of the page's form → what it asks of a post. No index helps these: they look through `SEARCHED` posts."""


class PostListForm(forms.Form):
    """What the page of posts is narrowed to. Days are those of the schedule's time zone."""

    state = forms.ChoiceField(required=False, choices=[("", "Any"), *Post._meta.get_field("state").choices])  # type: ignore[misc]  # it has some
    text = forms.CharField(required=False, max_length=200, label="Words in the text")
    since = forms.DateField(required=False, label="Published from", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="until", widget=forms.DateInput(attrs={"type": "date"}))
    arm = forms.ChoiceField(required=False, label="Written by", choices=[("", "Anyone"), *Post.Arm.choices])
    kind = forms.ChoiceField(required=False, choices=[("", "Any"), *Post.Kind.choices])
    version = forms.IntegerField(required=False, min_value=1, max_value=10**6, label="Model version")
    min_reward = forms.FloatField(required=False, label="Reward at least")
    max_reward = forms.FloatField(required=False, label="at most")

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were filled in, as they were written."""
        return {name: self.data[name] for name in self.fields if self.data.get(name)}

    @property
    def searches(self) -> bool:
        """Whether it looks through the newest posts only."""
        return any(self.cleaned_data.get(name) not in (None, "") for name in NARROWING)

    @property
    def ordering(self) -> tuple[str, str]:
        """By publication where days of it were given: each order has an index of its own."""
        by_day = self.cleaned_data.get("since") or self.cleaned_data.get("until")
        return ("-published_at" if by_day else "-created_at", "-pk")

    def narrowed(self, found: QuerySet[Post], zone: ZoneInfo) -> QuerySet[Post]:
        """The posts of a bot that the form leaves."""
        asked = self.cleaned_data
        if asked.get("state"):
            found = found.filter(state=asked["state"])
        if asked.get("since"):
            found = found.filter(published_at__gte=calendar.midnight(asked["since"], zone))
        if asked.get("until"):
            found = found.filter(published_at__lt=calendar.midnight(asked["until"] + timedelta(days=1), zone))
        if self.searches:
            newest = found.order_by(*self.ordering).values("pk")[:SEARCHED]
            lookups = {NARROWING[name]: asked[name] for name in NARROWING if asked.get(name) not in (None, "")}
            # Looked up for those posts alone: joined, the planner may read the rewards of all posts.
            worth = Reward.objects.filter(post=OuterRef("pk")).values("value")[:1]
            found = found.alias(worth=Subquery(worth)).filter(pk__in=newest, **lookups)
        return found
