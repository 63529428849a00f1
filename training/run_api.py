"""Runs over the API: started, steered, reconfigured, looked into."""

from __future__ import annotations

from typing import Any, ClassVar

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.pagination import NewestFirst
from bots.models import Bot
from training import shapes
from training.api import OfBot
from training.models import Dataset, ModelVersion, Round, Run, RunDataset, SampleSet
from training.queries import MOST_POINTS, PER_BUCKET, series_of
from training.services import reconfiguration, runs, versions
from training.settings_forms import KINDS
from training.settings_schema import ONLINE_PRESETS, json_schema


class SourceSerializer(serializers.ModelSerializer[RunDataset]):
    dataset = serializers.PrimaryKeyRelatedField(queryset=Dataset.objects.all())

    class Meta:
        model = RunDataset
        fields = ("dataset", "weight")
        validators: ClassVar[list[Any]] = []  # the service checks weights, in better words


class RunSerializer(serializers.ModelSerializer[Run]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    dataset = serializers.PrimaryKeyRelatedField(
        queryset=Dataset.objects.all(),
        required=False,
        allow_null=True,
        write_only=True,
        help_text="The one dataset to learn from; for several, use `datasets`.",
    )
    datasets = SourceSerializer(source="sources", many=True, required=False)
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
            "datasets",
            "start_version",
            "then_online",
            "progress",
            "error",
            "created_at",
            "started_at",
            "finished_at",
        )
        read_only_fields = ("state", "wish", "progress", "error", "created_at", "started_at", "finished_at")
        json_fields = {"config": shapes.EITHER, "then_online": shapes.ONLINE, "progress": shapes.ProgressSerializer}
        validators: ClassVar[list[Any]] = []  # that a run of the bot is under way, the service says in better words


class ReconfigureSerializer(serializers.Serializer[Any]):
    config = serializers.DictField(help_text="The settings to change, by name.")

    class Meta:
        json_fields = {"config": shapes.ONLINE}


class RoundSerializer(serializers.ModelSerializer[Round]):
    config = serializers.DictField(read_only=True)

    class Meta:
        model = Round
        fields = (
            "number",
            "config",
            "decisions",
            "metrics",
            "report",
            "scored_posts",
            "version",
            "seconds",
            "finished_at",
        )
        json_fields = {
            "config": shapes.ONLINE,
            "decisions": shapes.TEXTS,
            "metrics": shapes.NUMBERS,
            "report": shapes.ANYTHING,
        }


class NewestRoundFirst(NewestFirst):
    ordering = ("-number",)


class NewestStepFirst(NewestFirst):
    ordering = ("-step",)


class SampleSetSerializer(serializers.ModelSerializer[SampleSet]):
    class Meta:
        model = SampleSet
        fields = ("step", "texts", "at")
        json_fields = {"texts": shapes.TEXTS}


class ChangeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)
    by = serializers.CharField()
    at = serializers.DateTimeField()


class MetricsQuery(serializers.Serializer[Any]):
    after = serializers.IntegerField(
        required=False, default=-1, min_value=-1, max_value=2**31 - 1, help_text="Only steps above this one."
    )
    max_points = serializers.IntegerField(
        required=False, default=MOST_POINTS, min_value=PER_BUCKET, max_value=20_000, help_text="Of each metric."
    )
    name = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Only these metrics: repeat it for several."
    )


_SINGLE = {"after", "max_points"}


class RunFilter(OfBot):
    kind = filters.ChoiceFilter(choices=Run.Kind.choices)
    state = filters.ChoiceFilter(choices=Run.State.choices)


class RunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Run.objects.prefetch_related("sources")
    serializer_class = RunSerializer
    filterset_class = RunFilter
    ordering_fields = ("created_at",)
    permissions: ClassVar[dict[str, str]] = {
        "list": "run_view",
        "retrieve": "run_view",
        "create": "run_control",
        "pause": "run_control",
        "stop": "run_control",
        "resume": "run_control",
        "metrics": "run_view",
        "rounds": "run_view",
        "samples": "run_view",
        "changes": "run_view",
        "settings_schema": "run_view",
        "partial_update": "run_control",
    }

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Start fine-tuning (`offline`, with a dataset, or several with weights) or online learning (`online`, from a
        model version, the current one unless given).
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        if data["kind"] == Run.Kind.OFFLINE:
            weights = {source["dataset"]: source.get("weight", 1.0) for source in data.get("sources", ())}
            if data.get("dataset") is not None:
                weights.setdefault(data["dataset"], 1.0)
            run = runs.start_finetune(data["bot"], weights, data.get("config"), then_online=data.get("then_online"))
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
        parameters=[MetricsQuery],
        responses={200: shapes.SERIES},
    )
    @action(detail=True, methods=["get"], filterset_class=None)
    def metrics(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Every metric of the run as [[step, value], …], rising by step. A metric of more points than `max_points` is
        thinned to the lowest, the highest and the last of equal stretches of steps: spikes stay.
        """
        run = self.get_object()
        asked = MetricsQuery(data={name: request.query_params[name] for name in _SINGLE & set(request.query_params)})
        asked.is_valid(raise_exception=True)
        chosen = asked.validated_data
        names = request.query_params.getlist("name")
        return Response(series_of(run, after=chosen["after"], most=chosen["max_points"], names=names))

    @extend_schema(responses=RoundSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=NewestRoundFirst, filterset_class=None)
    def rounds(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The rounds of an online run, newest first: what each decided and measured."""
        page = self.paginate_queryset(self.get_object().rounds.all())
        return self.get_paginated_response(RoundSerializer(page, many=True).data)

    @extend_schema(responses=SampleSetSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=NewestStepFirst, filterset_class=None)
    def samples(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Texts that the model drew during the run, unedited, the latest first."""
        page = self.paginate_queryset(self.get_object().sample_sets.all())
        return self.get_paginated_response(SampleSetSerializer(page, many=True).data)

    @extend_schema(responses=ChangeSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def changes(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Every change of the run's settings while it lived, oldest first."""
        return Response(ChangeSerializer(reconfiguration.changes_of(self.get_object()), many=True).data)

    @extend_schema(request=ReconfigureSerializer, responses=RunSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change settings of a living online run; they count from the next round on."""
        run = self.get_object()
        data = ReconfigureSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        run = reconfiguration.reconfigure(run.pk, data.validated_data["config"])
        return Response(self.get_serializer(run).data)

    @extend_schema(responses=shapes.SettingsSchemaSerializer)
    @action(detail=False, methods=["get"], url_path="schema", pagination_class=None, filterset_class=None)
    def settings_schema(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What `config` may hold, as a JSON Schema for each kind of run (`x-live`: may change while the run lives), and
        named presets of online learning.
        """
        presets = {
            name: {"title": preset.label, "description": preset.help, "config": dict(preset.config)}
            for name, preset in ONLINE_PRESETS.items()
        }
        return Response({kind: json_schema(config) for kind, config in KINDS.items()} | {"presets": presets})
