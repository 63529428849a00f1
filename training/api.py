"""Datasets over the API. Translates HTTP to services."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.parsers import StrictJSONParser
from accounts.streamed import Octets, Streamed, download
from bots.models import Bot
from training import queries, shapes
from training.dataset_statistics import MEASURED, statistics_of
from training.imports.filters import FILTERS
from training.models import Dataset, RunDataset
from training.services import datasets, permissions


class OfBot(filters.FilterSet):
    bot = filters.UUIDFilter(field_name="bot_id")


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    file = serializers.FileField(write_only=True)
    preview = serializers.JSONField(read_only=True)

    class Meta:
        model = Dataset
        fields = (
            "id",
            "bot",
            "name",
            "source",
            "licence",
            "may_learn",
            "state",
            "file",
            "filename",
            "format",
            "columns",
            "preview",
            "error",
            "example_count",
            "created_at",
        )
        read_only_fields = ("state", "filename", "format", "columns", "error", "example_count", "created_at")
        json_fields = {"columns": shapes.COLUMNS, "preview": shapes.PreviewSerializer}


class ColumnsSerializer(serializers.Serializer[Any]):
    columns = serializers.DictField(child=serializers.CharField(allow_null=True, allow_blank=True))

    class Meta:
        json_fields = {"columns": shapes.COLUMNS}


class FiltersSerializer(serializers.Serializer[Any]):
    filters = serializers.DictField(
        child=serializers.DictField(), help_text="Filter → its parameters. `GET datasets/filters/` lists them."
    )

    class Meta:
        json_fields = {"filters": shapes.CHOSEN_FILTERS}


class ImportRowsSerializer(serializers.Serializer[Any]):
    only_good = serializers.BooleanField(default=False, help_text="Import the good rows and leave the broken ones out.")


class BarSerializer(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]  # a field has a label, too
    count = serializers.IntegerField()


class StatisticsSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField()
    measured = serializers.IntegerField(help_text=f"Of the first so many, at most {MEASURED:,}, is all that follows.")
    scored = serializers.IntegerField(help_text="Posts with a score.")
    mean = serializers.FloatField(allow_null=True, help_text="Of the scores.")
    first_at = serializers.DateTimeField(allow_null=True)
    last_at = serializers.DateTimeField(allow_null=True)
    authors = serializers.IntegerField()
    communities = serializers.IntegerField()
    topics = serializers.IntegerField()
    answers = serializers.IntegerField(help_text="Posts that answer another.")
    median_length = serializers.FloatField(allow_null=True, help_text="Characters.")
    median_score = serializers.FloatField(allow_null=True)
    learnable = serializers.IntegerField(help_text="Posts that a model may learn from.")
    over_time = BarSerializer(many=True, help_text="Posts of each month or year.")
    lengths = BarSerializer(many=True)
    scores = BarSerializer(many=True)
    top_authors = BarSerializer(many=True)
    top_communities = BarSerializer(many=True)


class UseSerializer(serializers.Serializer[Any]):
    run = serializers.UUIDField(source="run_id")
    state = serializers.CharField(source="run.state")
    weight = serializers.FloatField()
    created_at = serializers.DateTimeField(source="run.created_at")
    versions = serializers.SerializerMethodField(help_text="The numbers of the versions that it made.")

    def get_versions(self, use: RunDataset) -> list[int]:
        return [version.number for version in use.run.versions.all()]


class DatasetViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Dataset.objects.all()
    serializer_class = DatasetSerializer
    filterset_class = OfBot
    parser_classes = (MultiPartParser, StrictJSONParser)
    permissions: ClassVar[dict[str, str]] = {
        "list": "dataset_view",
        "retrieve": "dataset_view",
        "create": "dataset_edit",
        "destroy": "dataset_edit",
        "columns": "dataset_edit",
        "filters": "dataset_edit",
        "known_filters": "dataset_view",
        "import_rows": "dataset_edit",
        "statistics": "dataset_view",
        "file": "dataset_view",
        "allow": "dataset_edit",
        "withdraw": "dataset_edit",
        "uses": "dataset_view",
    }
    ordering_fields = ("created_at", "name")

    @extend_schema(request={"multipart/form-data": DatasetSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Upload a file of past posts. The answer's `preview` says what an import would keep, drop and refuse."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        dataset = datasets.upload_dataset(**serializer.validated_data)
        return Response(self.get_serializer(dataset).data, status=status.HTTP_201_CREATED)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        datasets.delete_dataset(self.get_object().pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=ColumnsSerializer)
    @action(detail=True, methods=["post"])
    def columns(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Say which column plays which part, and look through the file again."""
        dataset = self.get_object()
        data = ColumnsSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return Response(self.get_serializer(datasets.look_through(dataset, data.validated_data["columns"])).data)

    @extend_schema(request=FiltersSerializer)
    @action(detail=True, methods=["post"])
    def filters(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Say what is to be left out, and look through the file again: `preview.filters` says how much each drops."""
        dataset = self.get_object()
        data = FiltersSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        chosen = data.validated_data["filters"]
        return Response(self.get_serializer(datasets.look_through(dataset, filters=chosen)).data)

    @extend_schema(responses={200: shapes.KNOWN_FILTERS})
    @action(detail=False, methods=["get"], url_path="filters", pagination_class=None, filter_backends=[])
    def known_filters(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Every filter with its description and its parameters."""
        return Response(
            {
                name: {
                    "label": each.label,
                    "description": each.description,
                    "parameters": {key: asdict(parameter) for key, parameter in each.parameters.items()},
                }
                for name, each in FILTERS.items()
            }
        )

    @extend_schema(responses=StatisticsSerializer)
    @action(detail=True)
    def statistics(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The dataset's posts in numbers."""
        return Response(StatisticsSerializer(statistics_of(self.get_object())).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def allow(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Record that a model may learn from the dataset."""
        return Response(self.get_serializer(permissions.allow(self.get_object().pk)).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Take the permission to learn back; versions that learned from the dataset stay."""
        return Response(self.get_serializer(permissions.withdraw(self.get_object().pk)).data)

    @extend_schema(responses=UseSerializer(many=True))
    @action(detail=True, pagination_class=None, filter_backends=[])
    def uses(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The newest trainings that learned from the dataset, with the versions they made."""
        return Response(UseSerializer(queries.uses_of(self.get_object()), many=True).data)

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True, renderer_classes=[JSONRenderer, Octets])
    def file(self, request: Request, *args: Any, **kwargs: Any) -> Streamed:
        """The file as it was uploaded."""
        dataset = self.get_object()
        if not dataset.file:
            raise NotFound("This dataset was not made from a file.")
        blocks = dataset.file.open("rb").chunks()
        return download(iter(blocks), dataset.filename, "application/octet-stream", size=dataset.file.size)

    @extend_schema(request=ImportRowsSerializer, responses={202: DatasetSerializer})
    @action(detail=True, methods=["post"], url_path="import")
    def import_rows(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Import what the preview promised. With broken rows this needs `only_good`."""
        data = ImportRowsSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        dataset = datasets.request_import(self.get_object().pk, only_good=data.validated_data["only_good"])
        return Response(self.get_serializer(dataset).data, status=status.HTTP_202_ACCEPTED)
