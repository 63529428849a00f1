"""Whether a bot is getting better, over the API, by the bot's id."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from bots.models import Bot
from training.queries import latest_samples, lift


class ArmSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field has a label, too
    posts = serializers.IntegerField()
    mean = serializers.FloatField(allow_null=True, help_text="Reward, in standard units.")
    low = serializers.FloatField(allow_null=True, help_text="Of its 95 % interval.")
    high = serializers.FloatField(allow_null=True, help_text="Of its 95 % interval.")


class LiftDifferenceSerializer(serializers.Serializer[Any]):
    mean = serializers.FloatField(help_text="Learning minus baseline, in standard units.")
    low = serializers.FloatField(help_text="Of its 95 % interval.")
    high = serializers.FloatField(help_text="Of its 95 % interval.")


class LiftSerializer(serializers.Serializer[Any]):
    bot = serializers.UUIDField()
    tone = serializers.ChoiceField(choices=["waiting", "unknown", "better", "worse"])
    sentence = serializers.CharField()
    detail = serializers.CharField()
    arms = ArmSerializer(many=True, help_text="Empty before online learning has begun.")
    difference = LiftDifferenceSerializer(allow_null=True, help_text="Null before it is known.")
    decisions = serializers.ListField(child=serializers.CharField(), help_text="Of the latest round.")
    samples = serializers.ListField(child=serializers.CharField(), help_text="The newest texts of a run, unedited.")


class LiftViewSet(OrganizationViewSet):
    queryset = Bot.objects.all()
    serializer_class = LiftSerializer
    permissions: ClassVar[dict[str, str]] = {"retrieve": "run_view"}

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What the posts of the bot's arms say: in a sentence, in its detail, and in numbers."""
        bot = self.get_object()
        drawn = latest_samples(bot)
        found = {"arms": [], "difference": None, "decisions": []} | lift(bot)
        answer = {"samples": drawn.texts if drawn else [], "bot": bot.pk} | found
        return Response(LiftSerializer(answer).data)
