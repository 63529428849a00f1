"""Review over the API, by the bot's id: what waits in the order of review, decisions, and taking one back."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, ValidationError
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.problems import Conflict
from bots.agreement import agreement
from bots.models import Bot, Post
from bots.post_serializers import PostSerializer
from bots.services import review

MOST_SHOWN = 20


class ReviewSerializer(serializers.ModelSerializer[Bot]):
    bot = serializers.UUIDField(source="pk", read_only=True)
    waiting = serializers.SerializerMethodField(help_text=f"Posts that wait, counted up to {review.MOST_COUNTED + 1}.")
    posts = serializers.SerializerMethodField(help_text=f"The next {MOST_SHOWN} posts, in the order of review.")

    class Meta:
        model = Bot
        fields = ("bot", "waiting", "posts")

    def get_waiting(self, bot: Bot) -> int:
        return review.waiting_count(bot)

    @extend_schema_field(PostSerializer(many=True))
    def get_posts(self, bot: Bot) -> list[dict[str, Any]]:
        ids = review.in_order(bot)[:MOST_SHOWN]
        found = Post.objects.select_related("reward", "connection").prefetch_related("images", "verdicts").in_bulk(ids)
        return list(PostSerializer([found[pk] for pk in ids if pk in found], many=True).data)


class DecideSerializer(serializers.Serializer[Any]):
    post = serializers.PrimaryKeyRelatedField(queryset=Post.objects.all())
    choice = serializers.ChoiceField(choices=review.CHOICES)
    payload_sha256 = serializers.CharField(
        required=False, default="", max_length=64, help_text="What you saw; refused if the post has changed since."
    )
    reason = serializers.CharField(
        required=False, default="", max_length=300, allow_blank=True, help_text="Of `decline`."
    )
    text = serializers.CharField(required=False, default="", max_length=100_000, help_text="Of `edit`.")


class UndoSerializer(serializers.Serializer[Any]):
    post = serializers.PrimaryKeyRelatedField(queryset=Post.objects.all())


class ComparisonSerializer(serializers.Serializer[Any]):
    better = serializers.IntegerField(help_text="Posts of the first kind.")
    worse = serializers.IntegerField(help_text="Posts of the second kind.")
    pairs = serializers.IntegerField()
    auc = serializers.FloatField(
        allow_null=True, help_text="Of all pairs, the share in which the first has the higher number; null: too few."
    )
    low = serializers.FloatField(allow_null=True, help_text="Of its 95 % interval.")
    high = serializers.FloatField(allow_null=True)


class AgreementSerializer(serializers.Serializer[Any]):
    model = ComparisonSerializer(help_text="Predictions: approved as they were against declined or rewritten.")
    audience = ComparisonSerializer(help_text="Rewards: rewritten against approved as they were.")


class ReviewViewSet(OrganizationViewSet):
    queryset = Bot.objects.select_related("connection")
    serializer_class = ReviewSerializer
    pagination_class = None
    permissions: ClassVar[dict[str, str]] = {
        "retrieve": "post_approve",
        "decide": "post_approve",
        "undo": "post_approve",
        "agreement": "post_approve",
    }

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What waits for a person, the next first."""
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=DecideSerializer, responses=PostSerializer)
    @action(detail=True, methods=["post"])
    def decide(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Approve, decline or rewrite a post that waits for review (which asks for `post_write`, too). Refused with 409
        when somebody was faster. A rewritten post goes on waiting.
        """
        data = self._asked(DecideSerializer)
        if data["choice"] == "edit" and not self.membership.allows("post_write"):
            raise PermissionDenied("Your role does not allow editing posts.")
        sha256 = data["payload_sha256"] or None
        try:
            review.decide(
                data["post"].pk, data["choice"], seen_sha256=sha256, reason=data["reason"], text=data["text"].strip()
            )
        except review.DecidedMeanwhile as faster:
            raise Conflict(str(faster)) from None
        return self._answer(data["post"])

    @extend_schema(request=UndoSerializer, responses=PostSerializer)
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Take your own newest decision on a post back: it waits again, and the decision is no lesson any more. Refused
        with 409 once the post is on its way.
        """
        post = self._asked(UndoSerializer)["post"]
        try:
            review.undo(post.pk)
        except ValidationError as error:
            raise Conflict(" ".join(error.messages)) from None
        return self._answer(post)

    @extend_schema(responses=AgreementSerializer)
    @action(detail=True)
    def agreement(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """How people's decisions agree with the reward model and the audience."""
        return Response(AgreementSerializer(agreement(self.get_object())).data)

    def _asked(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        bot = self.get_object()
        data = serializer(data=self.request.data)
        data.is_valid(raise_exception=True)
        if data.validated_data["post"].bot_id != bot.pk:
            raise ValidationError({"post": "This post is another bot's."})
        found: dict[str, Any] = data.validated_data
        return found

    def _answer(self, post: Post) -> Response:
        return Response(PostSerializer(Post.objects.select_related("reward", "connection").get(pk=post.pk)).data)
