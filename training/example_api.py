"""Examples over the API: the past posts of imported datasets."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.csv_out import csv_blocks
from accounts.moments import MomentFilter
from accounts.pagination import NewestFirst
from accounts.problems import Conflict
from accounts.streamed import Csv, Streamed, download, rows_of
from training import queries
from training.models import Example
from training.services import datasets

COLUMNS = (
    "position", "text", "score", "author", "community", "topic", "context", "posted_at", "quarantined", "source",
    "licence", "may_learn",
)  # fmt: skip


class ExampleSerializer(serializers.ModelSerializer[Example]):
    class Meta:
        model = Example
        fields = ("id", "dataset", *COLUMNS, "source_id")


class ExampleFilter(filters.FilterSet):
    dataset = filters.UUIDFilter(field_name="dataset_id")
    bot = filters.UUIDFilter(field_name="dataset__bot_id")
    quarantined = filters.BooleanFilter(
        method="is_quarantined", help_text="Whether training leaves it out because it broke a training twice."
    )
    author = filters.CharFilter()
    community = filters.CharFilter()
    topic = filters.CharFilter()
    min_score = filters.NumberFilter(field_name="score", lookup_expr="gte")
    max_score = filters.NumberFilter(field_name="score", lookup_expr="lte")
    posted_after = MomentFilter(field_name="posted_at", lookup_expr="gte")
    posted_before = MomentFilter(field_name="posted_at", lookup_expr="lt")
    text = filters.CharFilter(
        method="search",
        max_length=200,
        help_text=f"Words that the text holds: with `dataset`, among its first {queries.SEARCHED:,} posts that the "
        "other filters leave, else among the newest ones.",
    )

    def filter_queryset(self, queryset: QuerySet[Example]) -> QuerySet[Example]:
        """The search comes last, whatever the order of the parameters."""
        words = self.form.cleaned_data.pop("text", "")
        found: QuerySet[Example] = super().filter_queryset(queryset)
        return self.search(found, "text", words) if words else found

    def search(self, queryset: QuerySet[Example], name: str, words: str) -> QuerySet[Example]:
        within = self.form.cleaned_data.get("dataset")
        return queries.holding(queryset.order_by("position" if within else "-pk"), words)

    def is_quarantined(self, queryset: Any, name: str, value: bool) -> Any:
        return queryset.exclude(quarantined="") if value else queryset.filter(quarantined="")


class NewestExampleFirst(NewestFirst):
    ordering = ("-pk",)


class ExampleViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Example.objects.all()
    serializer_class = ExampleSerializer
    filterset_class = ExampleFilter
    pagination_class = NewestExampleFirst
    permissions: ClassVar[dict[str, str]] = {
        "list": "dataset_view",
        "retrieve": "dataset_view",
        "destroy": "dataset_edit",
        "csv": "dataset_view",
    }

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete one past post for good. Refused while a training learns from its dataset."""
        try:
            datasets.delete_example(self.get_object().pk)
        except ValidationError as error:
            raise Conflict(" ".join(error.messages)) from None
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    @action(detail=False, pagination_class=None, renderer_classes=[JSONRenderer, Csv])
    def csv(self, request: Request, *args: Any, **kwargs: Any) -> Streamed:
        """The examples that the filters leave, as CSV. Cells that a spreadsheet would compute begin with an
        apostrophe.
        """
        rows = rows_of(self.filter_queryset(self.get_queryset()))
        cells = ([getattr(example, name) for name in COLUMNS] for example in rows)
        return download(csv_blocks(COLUMNS, cells), "examples.csv", "text/csv; charset=utf-8")
