"""Runs over the API: started, steered, reconfigured, looked into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.pagination import NewestFirst
from accounts.problems import MissingScope
from accounts.streamed import Csv, Streamed
from bots.models import Bot
from training import shapes
from training.api import OfBot
from training.models import Dataset, ModelVersion, Round, Run, RunDataset, RunEvent, SampleSet
from training.series import LAST_STEP, MOST_POINTS, PER_BUCKET, SMOOTHINGS, series_of
from training.series_views import metrics_csv
from training.services import reconfiguration, run_choices, runs, stedden, versions
from training.settings_forms import KINDS
from training.settings_schema import PRESETS, Preset, json_schema


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
    preset = serializers.ChoiceField(
        choices=sorted({name for presets in PRESETS.values() for name in presets}),
        required=False,
        write_only=True,
        help_text="What to start from, of `runs/schema/`; `config` wins over it.",
    )
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
            "preset",
            "dataset",
            "datasets",
            "start_version",
            "then_online",
            "pinned",
            "progress",
            "error",
            "created_at",
            "started_at",
            "finished_at",
        )
        read_only_fields = ("state", "wish", "pinned", "progress", "error", "created_at", "started_at", "finished_at")
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


class NewestLineFirst(NewestFirst):
    ordering = ("-at", "-pk")


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
        required=False, default=-1, min_value=-1, max_value=LAST_STEP, help_text="Only steps above this one."
    )
    before = serializers.IntegerField(
        required=False, default=None, min_value=0, max_value=LAST_STEP, help_text="Only steps below this one."
    )
    smooth = serializers.ChoiceField(
        required=False,
        default=0,
        choices=SMOOTHINGS,
        help_text="The mean over so many steps that end with a point, taken before thinning. 0: none.",
    )
    max_points = serializers.IntegerField(
        required=False, default=MOST_POINTS, min_value=PER_BUCKET, max_value=20_000, help_text="Of each metric."
    )
    name = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Only these metrics: repeat it for several."
    )


class RunEventSerializer(serializers.ModelSerializer[RunEvent]):
    class Meta:
        model = RunEvent
        fields = ("at", "level", "kind", "step", "text")


class CompareQuery(serializers.Serializer[Any]):
    other = serializers.PrimaryKeyRelatedField(
        queryset=Run.objects.prefetch_related("sources__dataset"), help_text="The run of the same bot to compare with."
    )


class DifferenceSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    here = serializers.JSONField(allow_null=True, help_text="null: this run has no such setting.")
    there = serializers.JSONField(allow_null=True)


_SINGLE = {"after", "before", "smooth", "max_points"}


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
        "events": "run_view",
        "compare": "run_view",
        "csv": "run_view",
        "pin": "run_control",
        "unpin": "run_control",
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
        preset = PRESETS[data["kind"]].get(data.get("preset", "default"))
        if preset is None:
            raise serializers.ValidationError({"preset": "This preset is for another kind of run."})
        if preset.reply_rules and not self.membership.allows("bot_edit"):
            raise MissingScope("This preset sets the rules for replies; the token lacks “bot_edit”.", scope="bot_edit")
        if data["kind"] == Run.Kind.OFFLINE:
            weights = {source["dataset"]: source.get("weight", 1.0) for source in data.get("sources", ())}
            if data.get("dataset") is not None:
                weights.setdefault(data["dataset"], 1.0)
            begin = stedden.start if data.get("preset") == "stedden" else runs.start_finetune
            run = begin(data["bot"], weights, data.get("config"), then_online=data.get("then_online"))
        else:
            version = data.get("start_version") or versions.current_version(data["bot"])
            if version is None:
                raise serializers.ValidationError({"start_version": "This bot has no model yet: fine-tune one first."})
            run = runs.start_online(data["bot"], version, {**preset.config, **data.get("config", {})})
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
        thinned to the lowest, the highest and the last of equal stretches of steps, 2^n of them: spikes stay, and a
        part of the range, asked for again, is finer. A mean is taken over at least a quarter of such a stretch.
        """
        run = self.get_object()
        asked = MetricsQuery(data={name: request.query_params[name] for name in _SINGLE & set(request.query_params)})
        asked.is_valid(raise_exception=True)
        chosen = asked.validated_data
        names = request.query_params.getlist("name")
        each = chosen.pop("max_points")
        return Response(series_of(run, most=None, each=each, names=names, **chosen))

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

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def pin(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make the run the one that its bot's others are held against; the one before is so no longer."""
        return Response(self.get_serializer(run_choices.pin(self.get_object().pk)).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def unpin(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(run_choices.unpin(self.get_object().pk)).data)

    @extend_schema(responses=RunEventSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=NewestLineFirst, filterset_class=None)
    def events(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The run's log, the latest line first. `level` alert: its numbers say that something goes wrong."""
        page = self.paginate_queryset(self.get_object().events.all())
        return self.get_paginated_response(RunEventSerializer(page, many=True).data)

    @extend_schema(parameters=[CompareQuery], responses=DifferenceSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def compare(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The settings in which two runs of a bot differ, their datasets and first versions among them."""
        run = self.get_object()
        asked = CompareQuery(data={"other": request.query_params.get("other")})
        asked.is_valid(raise_exception=True)
        other = asked.validated_data["other"]
        if other.bot_id != run.bot_id:
            raise serializers.ValidationError({"other": "Choose a run of the same bot."})
        found = run_choices.differences([run, other])
        rows = [{"name": d.name, "title": d.label, "here": d.values[0], "there": d.values[1]} for d in found]
        return Response(DifferenceSerializer(rows, many=True).data)

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    @action(detail=True, pagination_class=None, filterset_class=None, renderer_classes=[JSONRenderer, Csv])
    def csv(self, request: Request, *args: Any, **kwargs: Any) -> Streamed:
        """Every point that the run measured, as CSV: metric, step, value, at."""
        return metrics_csv(self.get_object())

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
        named presets of online learning and, as `offline_presets`, of fine-tuning: `reply_rules` are set with the run.
        """
        presets = {f"{'' if kind == Run.Kind.ONLINE else 'offline_'}presets": _told(PRESETS[kind]) for kind in KINDS}
        return Response({kind: json_schema(config) for kind, config in KINDS.items()} | presets)


def _told(presets: Mapping[str, Preset]) -> dict[str, Any]:
    return {
        name: {
            "title": each.label,
            "description": each.help,
            "config": dict(each.config),
            "reply_rules": dict(each.reply_rules),
        }
        for name, each in presets.items()
    }
