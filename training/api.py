"""Datasets, runs, model versions and generations over the API. Translates HTTP to services."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from bots.models import Bot
from training.models import Dataset, Generation, ModelVersion, Run
from training.queries import series_of
from training.services import datasets, generations, runs, versions

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

    @extend_schema(request=ImportSerializer)
    @action(detail=True, methods=["post"], url_path="import")
    def import_rows(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Import what the preview promised. With broken rows this needs `only_good`."""
        data = ImportSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        dataset = datasets.request_import(self.get_object().pk, only_good=data.validated_data["only_good"])
        return Response(self.get_serializer(dataset).data, status=status.HTTP_202_ACCEPTED)


class RunSerializer(serializers.ModelSerializer[Run]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    dataset = serializers.PrimaryKeyRelatedField(queryset=Dataset.objects.all(), required=False, allow_null=True)
    start_version = serializers.PrimaryKeyRelatedField(
        queryset=ModelVersion.objects.all(), required=False, allow_null=True
    )
    config = serializers.DictField(required=False)
    then_online = serializers.DictField(required=False, allow_null=True)

    class Meta:
        model = Run
        fields = (
            "id",
            "bot",
            "kind",
            "state",
            "wish",
            "config",
            "dataset",
            "start_version",
            "then_online",
            "progress",
            "error",
            "created_at",
            "started_at",
            "finished_at",
        )
        read_only_fields = ("state", "wish", "progress", "error", "created_at", "started_at", "finished_at")
        validators: ClassVar[list[Any]] = []  # that a run of the bot is under way, the service says in better words


class RunFilter(OfBot):
    kind = filters.ChoiceFilter(choices=Run.Kind.choices)
    state = filters.ChoiceFilter(choices=Run.State.choices)


class RunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Run.objects.all()
    serializer_class = RunSerializer
    filterset_class = RunFilter
    permissions: ClassVar[dict[str, str]] = {
        "list": "run_view",
        "retrieve": "run_view",
        "create": "run_control",
        "pause": "run_control",
        "stop": "run_control",
        "resume": "run_control",
        "metrics": "run_view",
    }

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Start fine-tuning (`offline`, with a dataset) or online learning (`online`, from a model version, the
        current one unless given).
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        if data["kind"] == Run.Kind.OFFLINE:
            if data.get("dataset") is None:
                raise serializers.ValidationError({"dataset": "Fine-tuning needs a dataset."})
            run = runs.start_finetune(
                data["bot"], data["dataset"], data.get("config"), then_online=data.get("then_online")
            )
        else:
            version = data.get("start_version") or versions.current_version(data["bot"])
            if version is None:
                raise serializers.ValidationError({"start_version": "This bot has no model yet: fine-tune one first."})
            run = runs.start_online(data["bot"], version, data.get("config"))
        return Response(self.get_serializer(run).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(runs.pause_run(self.get_object().pk)).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(runs.stop_run(self.get_object().pk)).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(runs.resume_run(self.get_object().pk)).data)

    @extend_schema(
        responses={200: {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "array"}}}}
    )
    @action(detail=True, methods=["get"])
    def metrics(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Every metric of the run as [[step, value], …], thinned to at most 2,000 points each."""
        return Response(series_of(self.get_object()))


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
