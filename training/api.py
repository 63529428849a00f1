"""Datasets, model versions, their trials and generations over the API. Translates HTTP to services."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, ClassVar

from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.pagination import NewestFirst
from bots.models import Bot
from training.imports.filters import FILTERS
from training.models import Canary, Dataset, Generation, ModelVersion
from training.services import canaries, datasets, generations, versions

WAIT_SECONDS = 25.0
"""How long `generate` waits for the worker before it answers 202 with the request's address."""


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


class ColumnsSerializer(serializers.Serializer[Any]):
    columns = serializers.DictField(child=serializers.CharField(allow_null=True, allow_blank=True))


class FiltersSerializer(serializers.Serializer[Any]):
    filters = serializers.DictField(
        child=serializers.DictField(), help_text="Filter → its parameters. `GET datasets/filters/` lists them."
    )


class ImportSerializer(serializers.Serializer[Any]):
    only_good = serializers.BooleanField(default=False, help_text="Import the good rows and leave the broken ones out.")


class DatasetViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Dataset.objects.all()
    serializer_class = DatasetSerializer
    filterset_class = OfBot
    parser_classes = (MultiPartParser, JSONParser)
    permissions: ClassVar[dict[str, str]] = {
        "list": "dataset_view",
        "retrieve": "dataset_view",
        "create": "dataset_edit",
        "destroy": "dataset_edit",
        "columns": "dataset_edit",
        "filters": "dataset_edit",
        "known_filters": "dataset_view",
        "import_rows": "dataset_edit",
    }

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

    @extend_schema(responses={200: {"type": "object", "additionalProperties": {"type": "object"}}})
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

    @extend_schema(request=ImportSerializer)
    @action(detail=True, methods=["post"], url_path="import")
    def import_rows(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Import what the preview promised. With broken rows this needs `only_good`."""
        data = ImportSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        dataset = datasets.request_import(self.get_object().pk, only_good=data.validated_data["only_good"])
        return Response(self.get_serializer(dataset).data, status=status.HTTP_202_ACCEPTED)


class ShareSerializer(serializers.Serializer[Any]):
    share = serializers.FloatField(help_text="Share of the learning posts that the version writes, between 0 and 1.")


class CanarySerializer(serializers.ModelSerializer[Canary]):
    class Meta:
        model = Canary
        fields = (
            "id",
            "bot",
            "version",
            "against",
            "share",
            "state",
            "reason",
            "report",
            "started_at",
            "ended_at",
        )


class NewestTrialFirst(NewestFirst):
    ordering = ("-started_at", "-pk")


class CanaryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Trials of versions: each writes a share of the learning posts until reactions say whether it may take over."""

    queryset = Canary.objects.all()
    serializer_class = CanarySerializer
    pagination_class = NewestTrialFirst
    filterset_class = OfBot
    permissions: ClassVar[dict[str, str]] = {
        "list": "model_view",
        "retrieve": "model_view",
        "end": "model_promote",
        "promote": "model_promote",
        "roll_back": "model_promote",
    }

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def end(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End the trial without a verdict."""
        return Response(self.get_serializer(canaries.end_trial(self.get_object().pk)).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def promote(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Let the version on trial take over."""
        return Response(self.get_serializer(versions.promote_trial(self.get_object().pk)).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="roll-back")
    def roll_back(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End the trial against its version, and withdraw its posts that were not sent yet."""
        return Response(self.get_serializer(canaries.roll_back(self.get_object().pk)).data)


class VersionSerializer(serializers.ModelSerializer[ModelVersion]):
    class Meta:
        model = ModelVersion
        fields = (
            "id",
            "bot",
            "number",
            "kind",
            "parent",
            "run",
            "base",
            "checksum",
            "size",
            "tags",
            "metrics",
            "report",
            "is_current",
            "created_at",
        )


class TagsSerializer(serializers.Serializer[Any]):
    tags = serializers.ListField(child=serializers.CharField(max_length=40), max_length=20)


class VersionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = ModelVersion.objects.all()
    serializer_class = VersionSerializer
    filterset_class = OfBot
    permissions: ClassVar[dict[str, str]] = {
        "list": "model_view",
        "retrieve": "model_view",
        "make_current": "model_promote",
        "tag": "model_promote",
        "try_out": "model_promote",
    }

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="make-current")
    def make_current(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Let the bot speak with this version: promotes a new one, rolls back to an old one."""
        return Response(self.get_serializer(versions.make_current(self.get_object().pk)).data)

    @extend_schema(request=TagsSerializer)
    @action(detail=True, methods=["post"])
    def tag(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Replace the version's tags."""
        version = self.get_object()
        data = TagsSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return Response(self.get_serializer(versions.tag_version(version.pk, data.validated_data["tags"])).data)

    @extend_schema(request=ShareSerializer, responses={201: CanarySerializer})
    @action(detail=True, methods=["post"], url_path="try")
    def try_out(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Put the version on trial against the current one."""
        version = self.get_object()
        data = ShareSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        canary = canaries.start_trial(version.pk, data.validated_data["share"])
        return Response(CanarySerializer(canary).data, status=status.HTTP_201_CREATED)


class GenerationSerializer(serializers.ModelSerializer[Generation]):
    class Meta:
        model = Generation
        fields = (
            "id",
            "bot",
            "version",
            "prompt",
            "count",
            "params",
            "state",
            "samples",
            "error",
            "created_at",
            "finished_at",
        )


class GenerateSerializer(serializers.Serializer[Any]):
    """What to draw, and how."""

    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    version = serializers.PrimaryKeyRelatedField(
        queryset=ModelVersion.objects.all(), required=False, allow_null=True, default=None
    )
    prompt = serializers.CharField(required=False, allow_blank=True, default="", max_length=1000, trim_whitespace=False)
    n = serializers.IntegerField(required=False, default=1, min_value=1, max_value=generations.MOST_AT_ONCE)
    temperature = serializers.FloatField(required=False, min_value=0.0, max_value=5.0)
    top_k = serializers.IntegerField(required=False, min_value=0)
    top_p = serializers.FloatField(required=False, min_value=0.0001, max_value=1.0)
    min_p = serializers.FloatField(required=False, min_value=0.0, max_value=1.0)
    repetition_penalty = serializers.FloatField(required=False, min_value=1.0, max_value=10.0)
    max_new_tokens = serializers.IntegerField(required=False, min_value=1, max_value=1024)
    seed = serializers.IntegerField(required=False, min_value=0, max_value=2**63 - 1)


class GenerationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Generation.objects.all()
    serializer_class = GenerationSerializer
    filterset_class = OfBot
    permissions: ClassVar[dict[str, str]] = {"list": "model_view", "retrieve": "model_view", "create": "generate"}

    @extend_schema(
        request=GenerateSerializer,
        responses={200: GenerationSerializer, 202: GenerationSerializer},
        parameters=[OpenApiParameter("wait", bool, description="Set to false to be answered at once (202).")],
    )
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Draw texts. Answers 200 with the texts when the worker is done in time, otherwise 202: ask again at the
        request's address.
        """
        serializer = GenerateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = dict(serializer.validated_data)
        generation = generations.request_generation(
            data.pop("bot"), prompt=data.pop("prompt"), count=data.pop("n"), version=data.pop("version"), params=data
        )
        deadline = time.monotonic() + (0 if request.query_params.get("wait") == "false" else WAIT_SECONDS)
        while generation.state == Generation.State.QUEUED and time.monotonic() < deadline:
            time.sleep(0.1)
            generation.refresh_from_db()
        done = generation.state != Generation.State.QUEUED
        return Response(
            GenerationSerializer(generation).data, status=status.HTTP_200_OK if done else status.HTTP_202_ACCEPTED
        )
