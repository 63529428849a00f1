"""Model versions and their trials over the API: tagged, tried, promoted, downloaded, uploaded."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.pagination import NewestFirst
from accounts.problems import Conflict
from accounts.streamed import Streamed, Zip, download
from bots.models import Bot
from bots.post_serializers import ReasonSerializer
from training import model_archive, shapes
from training.api import OfBot
from training.artifacts import ArtifactError
from training.generation_api import GenerationSerializer
from training.models import Canary, ModelVersion
from training.services import canaries, uploads, versions


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
        json_fields = {"report": shapes.ANYTHING}


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
        json_fields = {"tags": shapes.TEXTS, "metrics": shapes.ANYTHING, "report": shapes.ANYTHING}


class TagsSerializer(serializers.Serializer[Any]):
    tags = serializers.ListField(child=serializers.CharField(max_length=40), max_length=20)


class UploadSerializer(serializers.Serializer[Any]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    file = serializers.FileField(help_text="A zip of a model folder.")
    base = serializers.CharField(
        max_length=200, required=False, default="uploaded", help_text="The model that its lineage began with."
    )


class UploadedSerializer(serializers.Serializer[Any]):
    version = VersionSerializer()
    first_text = GenerationSerializer()


class VersionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = ModelVersion.objects.select_related("bot")
    serializer_class = VersionSerializer
    filterset_class = OfBot
    permissions: ClassVar[dict[str, str]] = {
        "list": "model_view",
        "retrieve": "model_view",
        "make_current": "model_promote",
        "tag": "model_promote",
        "try_out": "model_promote",
        "download": "model_view",
        "upload": "model_promote",
    }
    ordering_fields = ("created_at", "number")

    @extend_schema(
        responses={
            (200, "application/zip"): OpenApiTypes.BINARY,
            409: OpenApiResponse(description="The weights are gone from the storage."),
        }
    )
    @action(detail=True, renderer_classes=[JSONRenderer, Zip])
    def download(self, request: Request, *args: Any, **kwargs: Any) -> Streamed:
        """The version as a zip of a model folder: its weights as safetensors, its configuration and its tokenizer. What
        is downloaded can be uploaded.
        """
        version = self.get_object()
        try:
            files = model_archive.files_of(version.folder)
        except ArtifactError as error:
            raise Conflict(str(error)) from None
        name = f"{version.bot.name}-v{version.number}.zip"
        return download(model_archive.zipped(files), name, "application/zip", size=model_archive.zipped_size(files))

    @extend_schema(request={"multipart/form-data": UploadSerializer}, responses={201: UploadedSerializer})
    @action(detail=False, methods=["post"], parser_classes=[MultiPartParser], filter_backends=[])
    def upload(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make a version of a zipped model folder: `model.safetensors`, `config.json`, `tokenizer.json` and
        `tokenizer_config.json`. Pickles and code are refused. A training worker draws `first_text` with it: that shows
        whether it loads.
        """
        data = UploadSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        version, first_text = uploads.upload_version(**data.validated_data)
        answer = UploadedSerializer({"version": version, "first_text": first_text})
        return Response(answer.data, status=status.HTTP_201_CREATED)

    @extend_schema(request=ReasonSerializer)
    @action(detail=True, methods=["post"], url_path="make-current")
    def make_current(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Let the bot speak with this version: promotes a new one, rolls back to an old one. What was rolled back says
        so in its `report` (`rolled_back`: `to`, `reason`).
        """
        version = self.get_object()
        data = ReasonSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return Response(self.get_serializer(versions.make_current(version.pk, data.validated_data["reason"])).data)

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
