"""Texts asked for over the API: one prompt or many, answered at once, later, or word by word."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from django_filters import rest_framework as filters
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
from bots.post_serializers import PostSerializer
from training import shapes, streaming
from training.api import OfBot
from training.engine.types import LEAST_TEMPERATURE
from training.models import Generation, ModelVersion
from training.services import generations, playground

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
            "group",
            "state",
            "samples",
            "error",
            "created_at",
            "finished_at",
        )
        json_fields = {"params": shapes.DrawingSerializer, "samples": shapes.DrawnSerializer(many=True)}


class AskSerializer(serializers.Serializer[Any]):
    """How to draw, whichever version does."""

    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    n = serializers.IntegerField(required=False, default=1, min_value=1, max_value=generations.MOST_AT_ONCE)
    temperature = serializers.FloatField(required=False, min_value=LEAST_TEMPERATURE, max_value=5.0)
    top_k = serializers.IntegerField(required=False, min_value=0)
    top_p = serializers.FloatField(required=False, min_value=0.0001, max_value=1.0)
    min_p = serializers.FloatField(required=False, min_value=0.0, max_value=1.0)
    repetition_penalty = serializers.FloatField(required=False, min_value=1.0, max_value=10.0)
    max_new_tokens = serializers.IntegerField(required=False, min_value=1, max_value=1024)
    seed = serializers.IntegerField(required=False, min_value=0, max_value=2**63 - 1)
    scores = serializers.BooleanField(
        required=False, help_text="Let the critics judge each text: expected reward, realism, closest training text."
    )


class HowSerializer(AskSerializer):
    """How to draw, and with which version: the current one unless given."""

    version = serializers.PrimaryKeyRelatedField(
        queryset=ModelVersion.objects.all(), required=False, allow_null=True, default=None
    )


def _prompt(**how: Any) -> serializers.CharField:
    return serializers.CharField(allow_blank=True, max_length=1000, trim_whitespace=False, **how)


class GenerateSerializer(HowSerializer):
    """What to draw, and how."""

    prompt = _prompt(required=False, default="")


class GenerateManySerializer(HowSerializer):
    """What to draw, and how: `n` texts for each of the prompts."""

    prompts = serializers.ListField(child=_prompt(), allow_empty=False, max_length=generations.MOST_PROMPTS)


class CompareSerializer(AskSerializer):
    """What to draw from each of the versions, and how."""

    versions = serializers.PrimaryKeyRelatedField(queryset=ModelVersion.objects.all(), many=True)
    prompt = _prompt(required=False, default="")


class ProposeSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(min_value=0, help_text="Which of the request's texts, from 0.")


class GenerationFilter(OfBot):
    group = filters.UUIDFilter(field_name="group")


class GenerationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Generation.objects.all()
    serializer_class = GenerationSerializer
    filterset_class = GenerationFilter
    ordering_fields = ("created_at",)
    limits: ClassVar[dict[str, str]] = dict.fromkeys(("create", "batch", "compare", "stream"), "generate")
    commits_midway = frozenset({"create", "batch", "compare", "stream"})  # the worker sees only what is committed
    permissions: ClassVar[dict[str, str]] = {
        "list": "model_view",
        "retrieve": "model_view",
        "create": "generate",
        "batch": "generate",
        "compare": "generate",
        "stream": "generate",
        "propose": "post_write",
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
        request=CompareSerializer,
        responses={200: GenerationSerializer(many=True), 202: GenerationSerializer(many=True)},
        parameters=[WAIT],
    )
    @action(detail=False, methods=["post"], pagination_class=None, filter_backends=[])
    def compare(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Draw texts from several versions with one prompt, one seed and the same settings: one request for each, from
        the oldest version to the newest, with one `group`. Answers 200 when all are done in time, otherwise 202: ask
        again with `GET generate/?group=`.
        """
        asked = playground.compare_versions(**_asked(CompareSerializer, request))
        done = self._wait(asked)
        return Response(GenerationSerializer(asked, many=True).data, status=_status(done))

    @extend_schema(request=ProposeSerializer, responses={201: PostSerializer})
    @action(detail=True, methods=["post"])
    def propose(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Propose one of the texts as a post, with where it comes from. It goes through the rules and the approval
        policy. Since a person chose it, it is not compared with the baseline.
        """
        generation = self.get_object()
        data = ProposeSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        post = playground.propose_text(generation.pk, data.validated_data["index"])
        return Response(PostSerializer(post).data, status=status.HTTP_201_CREATED)

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
        return streaming.response(generation, _shown)

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


def _asked(kind: type[AskSerializer], request: Request) -> dict[str, Any]:
    serializer = kind(data=request.data)
    serializer.is_valid(raise_exception=True)
    data = dict(serializer.validated_data)
    named = {name: data.pop(name) for name in ("bot", "prompt", "prompts", "version", "versions") if name in data}
    return named | {"count": data.pop("n"), "params": data}


def _shown(generation: Generation) -> dict[str, Any]:
    return dict(GenerationSerializer(generation).data)


def _status(done: bool) -> int:
    return status.HTTP_200_OK if done else status.HTTP_202_ACCEPTED
