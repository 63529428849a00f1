"""Replies over the API: a bot's rules, what it saw, and the candidates for each answer."""

from __future__ import annotations

from typing import Any, ClassVar

from django_filters import rest_framework as filters
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.pagination import NewestFirst
from bots.models import Bot, Incoming, ReplyCandidate, ReplyRules
from bots.services import replies


class ReplyRulesSerializer(serializers.ModelSerializer[ReplyRules]):
    bot = serializers.UUIDField(source="bot_id", read_only=True)
    communities = serializers.ListField(child=serializers.CharField(max_length=200), required=False)
    keywords = serializers.ListField(child=serializers.CharField(max_length=200), required=False)
    languages = serializers.ListField(child=serializers.CharField(max_length=3), required=False)

    class Meta:
        model = ReplyRules
        fields = (
            "bot",
            "active",
            "mentions",
            "comments",
            "communities",
            "community_permission",
            "youngest_minutes",
            "oldest_minutes",
            "least_score",
            "deepest",
            "keywords",
            "languages",
            "answer_bots",
            "per_thread",
            "per_author",
            "per_hour",
            "candidates",
            "least_realism",
            "every_minutes",
            "next_look_at",
            "problem",
        )
        read_only_fields = ("next_look_at", "problem")


class ReplyRulesViewSet(OrganizationViewSet):
    """Whom a bot answers, by the bot's id. Off until somebody turns it on."""

    queryset = Bot.objects.select_related("connection")
    serializer_class = ReplyRulesSerializer
    permissions: ClassVar[dict[str, str]] = {"retrieve": "bot_view", "partial_update": "bot_edit"}

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(replies.rules_of(self.get_object())).data)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        bot = self.get_object()
        serializer = self.get_serializer(replies.rules_of(bot), data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        return Response(self.get_serializer(replies.change_rules(bot, **serializer.validated_data)).data)


class CandidateSerializer(serializers.ModelSerializer[ReplyCandidate]):
    class Meta:
        model = ReplyCandidate
        fields = ("position", "text", "realism", "score", "verdict", "chosen")


class IncomingSerializer(serializers.ModelSerializer[Incoming]):
    candidates = CandidateSerializer(many=True, read_only=True)

    class Meta:
        model = Incoming
        fields = (
            "id",
            "bot",
            "remote_id",
            "root_id",
            "author",
            "text",
            "parents",
            "depth",
            "community",
            "url",
            "summoned",
            "at",
            "state",
            "reason",
            "answer",
            "seen_at",
            "candidates",
        )
        json_fields = {"parents": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}}


class IncomingFilter(filters.FilterSet):
    bot = filters.UUIDFilter(field_name="bot_id")
    state = filters.ChoiceFilter(choices=Incoming.State.choices)


class OneCandidateSerializer(serializers.ModelSerializer[ReplyCandidate]):
    bot = serializers.UUIDField(source="incoming.bot_id", read_only=True)
    answers = serializers.CharField(source="incoming.text", read_only=True, help_text="The text that it answers.")

    class Meta:
        model = ReplyCandidate
        fields = ("id", "incoming", "bot", "answers", *CandidateSerializer.Meta.fields)


class CandidateFilter(filters.FilterSet):
    bot = filters.UUIDFilter(field_name="incoming__bot_id")
    incoming = filters.UUIDFilter(field_name="incoming_id")
    chosen = filters.BooleanFilter()


class NewestCandidateFirst(NewestFirst):
    ordering = ("-pk",)


class CandidateViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Answers that were drawn for posts by others, with their two scores and why each was not taken. (What a bot's own
    post was chosen over: `posts/{id}/candidates/`.)
    """

    queryset = ReplyCandidate.objects.select_related("incoming")
    serializer_class = OneCandidateSerializer
    filterset_class = CandidateFilter
    pagination_class = NewestCandidateFirst
    permissions: ClassVar[dict[str, str]] = {"list": "post_view", "retrieve": "post_view"}


class NewestSeenFirst(NewestFirst):
    ordering = ("-seen_at", "-pk")


class IncomingViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Posts by others that bots saw: each with what became of it, why, and the candidates for its answer."""

    queryset = Incoming.objects.prefetch_related("candidates")
    serializer_class = IncomingSerializer
    filterset_class = IncomingFilter
    pagination_class = NewestSeenFirst
    permissions: ClassVar[dict[str, str]] = {"list": "post_view", "retrieve": "post_view"}
