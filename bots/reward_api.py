"""The reward studio over the API: a formula replayed over past posts, and past rewards made anew."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from bots.models import Bot
from bots.replay import Replay, Scheme
from bots.services import reward_studio


class SchemeSerializer(serializers.Serializer[Any]):
    """What is left out stays as the bot has it."""

    score_formula = serializers.CharField(required=False, max_length=300)
    reward_age = serializers.IntegerField(required=False, min_value=1, help_text="Minutes.")


class ReplayedPostSerializer(serializers.Serializer[Any]):
    """One post under the present formula (`now`) and the proposed one (`then`). Rank 1 is the best."""

    post = serializers.UUIDField(source="post.pk")
    arm = serializers.CharField(source="post.arm")
    now = serializers.FloatField(allow_null=True)
    then = serializers.FloatField(allow_null=True)
    why_not_now = serializers.CharField(help_text="Why there is no value.")
    why_not_then = serializers.CharField(help_text="Why there is no value.")
    rank_now = serializers.FloatField(allow_null=True)
    rank_then = serializers.FloatField(allow_null=True)


class ArmsSerializer(serializers.Serializer[Any]):
    learning = serializers.IntegerField(help_text="Posts.")
    baseline = serializers.IntegerField(help_text="Posts.")
    learning_mean = serializers.FloatField(allow_null=True)
    baseline_mean = serializers.FloatField(allow_null=True)
    difference = serializers.FloatField(allow_null=True, help_text="In standard deviations of all these posts.")
    error = serializers.FloatField(allow_null=True, help_text="The difference's standard error (Welch).")


class ReplaySerializer(serializers.Serializer[Any]):
    posts = serializers.IntegerField(help_text=f"The newest that were read, at most {reward_studio.MOST_POSTS}.")
    compared = serializers.IntegerField(help_text="Posts with a value under both formulas.")
    spearman = serializers.FloatField(allow_null=True, help_text="Rank correlation.")
    pairs = serializers.IntegerField(help_text="Pairs of posts of which one is better now.")
    flipped = serializers.IntegerField(help_text="Pairs in which the other one would be.")
    top_now = serializers.ListField(child=serializers.UUIDField(), help_text="The best ten, best first.")
    top_then = serializers.ListField(child=serializers.UUIDField())
    arms_now = ArmsSerializer()
    arms_then = ArmsSerializer()
    lines = ReplayedPostSerializer(many=True)


class RescoredSerializer(serializers.Serializer[Any]):
    posts = serializers.IntegerField(help_text="Posts whose reward was made anew.")
    kept = serializers.IntegerField(help_text="Posts that the formula has no value for: their rewards stay.")


class RewardActions:
    """Actions of the bots' viewset."""

    @extend_schema(request=SchemeSerializer, responses=ReplaySerializer)
    @action(detail=True, methods=["post"], pagination_class=None, filter_backends=[])
    def replay(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What another formula, or another age, would have made of past posts; nothing is kept."""
        bot: Bot = self.get_object()  # type: ignore[attr-defined]  # of the viewset
        data = SchemeSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        now, asked = reward_studio.scheme_of(bot), data.validated_data
        proposed = Scheme(asked.get("score_formula", now.formula), asked.get("reward_age", now.reward_age))
        return Response(ReplaySerializer(_told(reward_studio.replayed(bot, proposed))).data)

    @extend_schema(request=None, responses=RescoredSerializer)
    @action(detail=True, methods=["post"], pagination_class=None, filter_backends=[])
    def rescore(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make the rewards of the posts that a replay looks at anew by the bot's present formula. A change of the
        formula alone leaves rewards as they were given.
        """
        return Response(RescoredSerializer(reward_studio.rescore(self.get_object())).data)  # type: ignore[attr-defined]


def _told(found: Replay) -> dict[str, Any]:
    names = ("spearman", "pairs", "flipped", "arms_now", "arms_then", "lines")
    return {name: getattr(found, name) for name in names} | {
        "posts": len(found.lines),
        "compared": len(found.compared),
        "top_now": [line.post.pk for line in found.top_now],
        "top_then": [line.post.pk for line in found.top_then],
    }
