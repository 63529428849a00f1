"""The curated queue over the API, by the bot's id: what waits, in which order, and posts brought along."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, ValidationError
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from bots.models import Bot, Post
from bots.services import queue

MOST_SHOWN = 500


class WaitingSerializer(serializers.ModelSerializer[Post]):
    state = serializers.CharField(read_only=True)

    class Meta:
        model = Post
        fields = ("id", "text", "arm", "state", "slot_utc", "position")


class QueueSerializer(serializers.ModelSerializer[Bot]):
    bot = serializers.UUIDField(source="pk", read_only=True)
    order = serializers.ChoiceField(source="queue_order", choices=Bot.QueueOrder.choices)
    empty_since = serializers.DateTimeField(source="queue_empty_since", read_only=True, allow_null=True)
    waiting = serializers.SerializerMethodField(help_text=f"Approved posts, the next first, at most {MOST_SHOWN}.")

    class Meta:
        model = Bot
        fields = ("bot", "order", "empty_since", "waiting")

    @extend_schema_field(WaitingSerializer(many=True))
    def get_waiting(self, bot: Bot) -> list[dict[str, Any]]:
        return list(WaitingSerializer(queue.waiting(bot)[:MOST_SHOWN], many=True).data)


class OrderSerializer(serializers.Serializer[Any]):
    order = serializers.ChoiceField(choices=Bot.QueueOrder.choices)


class MoveSerializer(serializers.Serializer[Any]):
    post = serializers.PrimaryKeyRelatedField(queryset=Post.objects.all())
    to = serializers.ChoiceField(choices=queue.STEPS)


class LinesSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(help_text="One post per line.", trim_whitespace=False)


class ImportLinesSerializer(LinesSerializer):
    approve = serializers.BooleanField(
        default=False, help_text="These are a person's own words: approve those that no rule wants looked at."
    )


class LineSerializer(serializers.Serializer[Any]):
    """A line, and why it is left out, or to be looked at; both empty when it is neither."""

    number = serializers.IntegerField()
    text = serializers.CharField()
    dropped = serializers.CharField()
    flagged = serializers.CharField()


class QueueViewSet(OrganizationViewSet):
    queryset = Bot.objects.select_related("connection")
    serializer_class = QueueSerializer
    pagination_class = None
    permissions: ClassVar[dict[str, str]] = {
        "retrieve": "post_view",
        "partial_update": "schedule_edit",
        "move": "post_write",
        "preview": "post_write",
        "import_lines": "post_write",
    }

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The bot's queue."""
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=OrderSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Send posts in the queue's order, or by lot."""
        bot = self.get_object()
        data = OrderSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        queue.set_order(bot, data.validated_data["order"])
        return Response(self.get_serializer(bot).data)

    @extend_schema(request=MoveSerializer)
    @action(detail=True, methods=["post"])
    def move(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Move a post to another place; slots are given out anew."""
        bot = self.get_object()
        data = MoveSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        if data.validated_data["post"].bot_id != bot.pk:
            raise ValidationError({"post": "This post is another bot's."})
        queue.move_post(data.validated_data["post"].pk, data.validated_data["to"])
        return Response(self.get_serializer(bot).data)

    @extend_schema(request=LinesSerializer, responses=LineSerializer(many=True))
    @action(detail=True, methods=["post"])
    def preview(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What importing these lines would do with each, without doing it."""
        bot = self.get_object()
        data = LinesSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return Response(LineSerializer(queue.preview_import(bot, data.validated_data["text"]), many=True).data)

    @extend_schema(request=ImportLinesSerializer, responses={201: WaitingSerializer(many=True)})
    @action(detail=True, methods=["post"], url_path="import")
    def import_lines(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Add the lines that the preview keeps. `approve` asks for the right to approve posts, too."""
        bot = self.get_object()
        data = ImportLinesSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        approve = data.validated_data["approve"]
        if approve and not self.membership.allows("post_approve"):
            raise PermissionDenied("Your role does not allow approving posts.")
        made = queue.import_lines(bot, data.validated_data["text"], approve=approve)
        return Response(WaitingSerializer(made, many=True).data, status=status.HTTP_201_CREATED)
