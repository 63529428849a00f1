"""Texts asked for over the API: one prompt or many, answered at once, later, or word by word."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.streamed import EventStream
from bots.models import Bot
from training import shapes, streaming
from training.api import OfBot
from training.models import Generation, ModelVersion
from training.services import generations

WAIT_SECONDS = 25.0
"""How long `generate` waits for the worker before it answers 202 with the request's address."""
WAIT = OpenApiParameter("wait", bool, description="Set to false to be answered at once (202).")


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
        json_fields = {"params": shapes.DrawingSerializer, "samples": shapes.DrawnSerializer(many=True)}


class HowSerializer(serializers.Serializer[Any]):
    """How to draw."""

    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    version = serializers.PrimaryKeyRelatedField(
        queryset=ModelVersion.objects.all(), required=False, allow_null=True, default=None
    )
    n = serializers.IntegerField(required=False, default=1, min_value=1, max_value=generations.MOST_AT_ONCE)
    temperature = serializers.FloatField(required=False, min_value=0.0, max_value=5.0)
    top_k = serializers.IntegerField(required=False, min_value=0)
    top_p = serializers.FloatField(required=False, min_value=0.0001, max_value=1.0)
    min_p = serializers.FloatField(required=False, min_value=0.0, max_value=1.0)
    repetition_penalty = serializers.FloatField(required=False, min_value=1.0, max_value=10.0)
    max_new_tokens = serializers.IntegerField(required=False, min_value=1, max_value=1024)
    seed = serializers.IntegerField(required=False, min_value=0, max_value=2**63 - 1)


def _prompt(**how: Any) -> serializers.CharField:
    return serializers.CharField(allow_blank=True, max_length=1000, trim_whitespace=False, **how)


class GenerateSerializer(HowSerializer):
    """What to draw, and how."""

    prompt = _prompt(required=False, default="")


class GenerateManySerializer(HowSerializer):
    """What to draw, and how: `n` texts for each of the prompts."""

    prompts = serializers.ListField(child=_prompt(), allow_empty=False, max_length=generations.MOST_PROMPTS)


class GenerationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Generation.objects.all()
    serializer_class = GenerationSerializer
    filterset_class = OfBot
    ordering_fields = ("created_at",)
    limits: ClassVar[dict[str, str]] = dict.fromkeys(("create", "batch", "stream"), "generate")
    commits_midway = frozenset({"create", "batch", "stream"})  # the worker sees only what is committed
    permissions: ClassVar[dict[str, str]] = {
        "list": "model_view",
        "retrieve": "model_view",
        "create": "generate",
        "batch": "generate",
        "stream": "generate",
    }

    @extend_schema(
        request=GenerateSerializer,
        responses={200: GenerationSerializer, 202: GenerationSerializer},
        parameters=[WAIT],
    )
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Draw texts. Answers 200 with the texts when the worker is done in time, otherwise 202: ask again at the
        request's address.
        """
        generation = generations.request_generation(**_asked(GenerateSerializer, request))
        done = self._wait([generation])
        return Response(GenerationSerializer(generation).data, status=_status(done))

    @extend_schema(
        request=GenerateManySerializer,
        responses={200: GenerationSerializer(many=True), 202: GenerationSerializer(many=True)},
        parameters=[WAIT],
    )
    @action(detail=False, methods=["post"], pagination_class=None, filter_backends=[])
    def batch(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Draw texts for many prompts: one request for each, in their order, drawn together. Answers 200 when all are
        done in time, otherwise 202.
        """
        asked = generations.request_generations(**_asked(GenerateManySerializer, request))
        done = self._wait(asked)
        return Response(GenerationSerializer(asked, many=True).data, status=_status(done))

    @extend_schema(
        request=GenerateSerializer,
        responses={
            (200, "text/event-stream"): OpenApiResponse(
                OpenApiTypes.STR,
                "Events `text` with {index, at, text}: text number `index` goes on with `text` after its first `at` "
                "characters. The last event is `done`, with the request as `GET generate/{id}/` shows it.",
            )
        },
    )
    @action(detail=False, methods=["post"], renderer_classes=[JSONRenderer, EventStream], filter_backends=[])
    def stream(self, request: Request, *args: Any, **kwargs: Any) -> StreamingHttpResponse:
        """Draw texts and send them as they are drawn, as server-sent events. Who goes away stops nothing: the request
        is answered all the same.
        """
        generation = generations.request_generation(**_asked(GenerateSerializer, request))
        streaming.watch(generation.pk)
        events = streaming.events(generation.pk, generation.organization_id, _shown)
        answer = StreamingHttpResponse(events, content_type="text/event-stream")
        answer["Cache-Control"] = "no-store"
        answer["X-Accel-Buffering"] = "no"  # a proxy that collects would show nothing until the end
        return answer

    def _wait(self, asked: Sequence[Generation]) -> bool:
        """Until all are answered, or for `WAIT_SECONDS`. Returns whether they are."""
        deadline = time.monotonic() + (0 if self.request.query_params.get("wait") == "false" else WAIT_SECONDS)
        open_ = list(asked)
        while open_ and time.monotonic() < deadline:
            time.sleep(0.1)
            states = dict(Generation.objects.filter(pk__in=[each.pk for each in open_]).values_list("pk", "state"))
            for each in [each for each in open_ if states[each.pk] != Generation.State.QUEUED]:
                each.refresh_from_db()
                open_.remove(each)
        return not open_


def _asked(kind: type[HowSerializer], request: Request) -> dict[str, Any]:
    serializer = kind(data=request.data)
    serializer.is_valid(raise_exception=True)
    data = dict(serializer.validated_data)
    named = {name: data.pop(name) for name in ("bot", "prompt", "prompts", "version") if name in data}
    return named | {"count": data.pop("n"), "params": data}


def _shown(generation: Generation) -> dict[str, Any]:
    return dict(GenerationSerializer(generation).data)


def _status(done: bool) -> int:
    return status.HTTP_200_OK if done else status.HTTP_202_ACCEPTED
