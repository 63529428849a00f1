"""Why a post is what it is, over the API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from bots import queries, why
from bots.models import Post
from bots.post_serializers import ChosenOverSerializer


class PieceSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(trim_whitespace=False)
    kind = serializers.ChoiceField(choices=["same", "shared", "added", "removed"])


class ForecastSerializer(serializers.Serializer[Any]):
    """In standard units, as the reward model counts."""

    predicted = serializers.FloatField()
    real = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True, help_text="95 % of what it thought possible begins here.")
    high = serializers.FloatField(allow_null=True)
    sentence = serializers.CharField()


class PieceByPieceSerializer(serializers.Serializer[Any]):
    by = serializers.CharField()
    at = serializers.DateTimeField()
    pieces = PieceSerializer(many=True)


class StepSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field has a label, too
    detail = serializers.CharField()


class WhySerializer(serializers.Serializer[Any]):
    """Provenance and verdicts stand with the post itself."""

    sentence = serializers.CharField()
    candidates = ChosenOverSerializer(many=True, help_text="Itself first; empty where there were no others.")
    forecast = ForecastSerializer(allow_null=True)
    nearest = PieceSerializer(many=True, help_text="The closest training text, with the longest run that is shared.")
    shared_run = serializers.IntegerField(allow_null=True, help_text="Characters, when it was proposed.")
    edits = PieceByPieceSerializer(many=True)
    timeline = StepSerializer(many=True)


class WhyActions:
    """Actions of the posts' viewset."""

    @extend_schema(responses=WhySerializer)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def why(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Who wrote the post and what it beat, what was expected and what came, who changed it, and when."""
        post: Post = self.get_object()  # type: ignore[attr-defined]  # of the viewset
        return Response(WhySerializer(why.explain(post, queries.standard_reward(post))).data)
