"""Moderation over the API, by the bot's id: the rules with what they are set to, and what they say of a text."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from bots.models import Bot, Post, Verdict
from bots.moderation import RULES
from bots.moderation.contract import VERDICTS
from bots.services import posts


class RuleSettingsSerializer(serializers.Serializer[Any]):
    """What a rule goes by; each has its own."""

    max_length = serializers.IntegerField(required=False)
    counts_by = serializers.CharField(required=False)
    blocklist = serializers.ListField(child=serializers.CharField(), required=False)


class RuleSerializer(serializers.Serializer[Any]):
    rule = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field has a label, too
    settings = serializers.DictField(help_text="What the rule is set to for this bot: change it by `PATCH bots/{id}/`.")

    class Meta:
        json_fields = {"settings": RuleSettingsSerializer}


class ModerationSerializer(serializers.ModelSerializer[Bot]):
    """Every post of the bot goes through every rule, in this order. A check that cannot run blocks."""

    bot = serializers.UUIDField(source="pk", read_only=True)
    rules = serializers.SerializerMethodField()

    class Meta:
        model = Bot
        fields = ("bot", "approval", "rules")
        read_only_fields = ("approval",)

    @extend_schema_field(RuleSerializer(many=True))
    def get_rules(self, bot: Bot) -> list[dict[str, Any]]:
        can = bot.connection.capabilities
        settings: dict[str, dict[str, Any]] = {
            "length": {"max_length": can.max_length, "counts_by": can.counts_by},
            "blocklist": {"blocklist": bot.blocklist},
        }
        rules = [
            {"rule": name, "label": kind.label, "settings": settings.get(name, {})} for name, kind in RULES.items()
        ]
        return list(RuleSerializer(rules, many=True).data)


class TextSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=100_000)
    arm = serializers.ChoiceField(
        choices=Post.Arm.choices,
        default=Post.Arm.HUMAN,
        help_text="Who wrote it: a person's own words are not memorised, whatever they resemble.",
    )


class JudgedSerializer(serializers.ModelSerializer[Verdict]):
    class Meta:
        model = Verdict
        fields = ("rule", "value", "reason")


class CheckedSerializer(serializers.Serializer[Any]):
    value = serializers.ChoiceField(choices=Verdict.Value.choices, help_text="The worst of the verdicts.")
    length = serializers.IntegerField(help_text="By the platform's own counting.")
    excess = serializers.IntegerField(help_text="By how much it is too long.")
    verdicts = JudgedSerializer(many=True)


class ModerationViewSet(OrganizationViewSet):
    queryset = Bot.objects.select_related("connection")
    serializer_class = ModerationSerializer
    permissions: ClassVar[dict[str, str]] = {"retrieve": "bot_view", "check": "post_write"}

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The bot's rules."""
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=TextSerializer, responses=CheckedSerializer)
    @action(detail=True, methods=["post"])
    def check(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What the rules would say of a text, were it proposed now; nothing is kept."""
        bot = self.get_object()
        data = TextSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        text, face = data.validated_data["text"], bot.connection.face
        found = posts.judged(bot, posts.Draft(text, arm=data.validated_data["arm"]), posts.earlier_texts(bot))
        answer = {
            "value": max((verdict.value for verdict in found), key=VERDICTS.index),
            "length": face.count(text),
            "excess": max(0, face.excess(text)),
            "verdicts": found,
        }
        return Response(CheckedSerializer(answer).data)
