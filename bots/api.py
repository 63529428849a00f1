"""Bots, schedules, posts and scores over the API. Translates HTTP to services."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock
from accounts.api import OrganizationViewSet
from accounts.pagination import NewestFirst
from accounts.problems import Conflict
from bots import slots
from bots.models import Bot, Post, PostImage, Schedule, ScoreObservation, Verdict
from bots.services import bots as bot_services
from bots.services import delivery, posts, scheduling, threads
from bots.states import IllegalTransition
from faces.contract import FaceError
from faces.models import Connection


class BotSerializer(serializers.ModelSerializer[Bot]):
    connection = serializers.PrimaryKeyRelatedField(queryset=Connection.objects.all())
    reading_ages = serializers.ListField(child=serializers.IntegerField(min_value=1), required=False)
    blocklist = serializers.ListField(child=serializers.CharField(max_length=200), required=False)
    simulated = serializers.BooleanField(source="connection.simulated", read_only=True)

    class Meta:
        model = Bot
        fields = (
            "id",
            "name",
            "description",
            "connection",
            "base_model",
            "approval",
            "score_formula",
            "reading_ages",
            "reward_age",
            "posts_per_day",
            "blocklist",
            "paused_at",
            "pause_reason",
            "simulated",
            "created_at",
        )
        read_only_fields = ("paused_at", "pause_reason", "created_at")


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, max_length=300, default="")


class BotViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Bot.objects.select_related("connection")
    serializer_class = BotSerializer
    permissions: ClassVar[dict[str, str]] = {
        "list": "bot_view",
        "retrieve": "bot_view",
        "create": "bot_edit",
        "partial_update": "bot_edit",
        "pause": "bot_pause",
        "resume": "bot_pause",
    }

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        bot = bot_services.create_bot(**serializer.validated_data)
        return Response(self.get_serializer(bot).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        bot = self.get_object()
        serializer = self.get_serializer(bot, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        changes = dict(serializer.validated_data)
        if changes.pop("connection", bot.connection) != bot.connection:
            raise serializers.ValidationError(
                {"connection": "A bot keeps its connection: make a new bot for another account."}
            )
        return Response(self.get_serializer(bot_services.change_bot(bot, **changes)).data)

    @extend_schema(request=ReasonSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The kill switch: from now on no send begins."""
        reason = ReasonSerializer(data=request.data)
        reason.is_valid(raise_exception=True)
        bot = self.get_object()
        bot_services.pause_bot(bot, reason.validated_data["reason"])
        return Response(self.get_serializer(bot).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        bot = self.get_object()
        bot_services.resume_bot(bot)
        return Response(self.get_serializer(bot).data)


class ScheduleSerializer(serializers.ModelSerializer[Schedule]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    timetable = serializers.ListField(child=serializers.CharField(max_length=20), required=False)
    next_slots = serializers.SerializerMethodField(help_text="The next ten slots, in UTC.")

    class Meta:
        model = Schedule
        fields = (
            "id",
            "bot",
            "kind",
            "zone",
            "interval_seconds",
            "cron",
            "timetable",
            "misfire",
            "misfire_minutes",
            "jitter_minutes",
            "quiet_from",
            "quiet_until",
            "active",
            "next_slots",
            "created_at",
        )
        read_only_fields = ("created_at",)

    def get_next_slots(self, schedule: Schedule) -> list[str]:
        return [slot.isoformat() for slot in slots.upcoming(schedule, clock.now(), 10)]


class ScheduleViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Schedule.objects.all()
    serializer_class = ScheduleSerializer
    filterset_fields = ("bot",)
    permissions: ClassVar[dict[str, str]] = {
        "list": "schedule_view",
        "retrieve": "schedule_view",
        "create": "schedule_edit",
        "partial_update": "schedule_edit",
        "destroy": "schedule_edit",
    }

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        schedule = bot_services.set_schedule(**serializer.validated_data)
        return Response(self.get_serializer(schedule).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        schedule = self.get_object()
        serializer = self.get_serializer(schedule, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        changes = dict(serializer.validated_data)
        if changes.pop("bot", schedule.bot) != schedule.bot:
            raise serializers.ValidationError({"bot": "A schedule stays with its bot."})
        return Response(self.get_serializer(bot_services.set_schedule(schedule.bot, schedule, **changes)).data)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        bot_services.remove_schedule(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class ImageSerializer(serializers.ModelSerializer[PostImage]):
    class Meta:
        model = PostImage
        fields = ("id", "media_type", "sha256", "alt_text")


class VerdictSerializer(serializers.ModelSerializer[Verdict]):
    class Meta:
        model = Verdict
        fields = ("rule", "value", "reason")


class PostSerializer(serializers.ModelSerializer[Post]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    reward = serializers.FloatField(source="reward.value", read_only=True, default=None, allow_null=True)
    simulated = serializers.BooleanField(source="connection.simulated", read_only=True)
    images = ImageSerializer(many=True, read_only=True)
    verdicts = VerdictSerializer(many=True, read_only=True)
    thread = serializers.ListField(
        child=serializers.CharField(max_length=100_000),
        required=False,
        write_only=True,
        max_length=50,
        help_text="Texts of the parts that follow, each sent as a reply to the one before.",
    )

    class Meta:
        model = Post
        fields = (
            "id",
            "bot",
            "kind",
            "reply_to",
            "continues",
            "text",
            "thread",
            "images",
            "arm",
            "state",
            "payload_sha256",
            "approved_by",
            "approved_at",
            "decline_reason",
            "slot_utc",
            "published_at",
            "remote_id",
            "remote_url",
            "last_error",
            "reward",
            "simulated",
            "model_version_id",
            "provenance",
            "verdicts",
            "created_at",
        )
        read_only_fields = tuple(set(fields) - {"bot", "text", "reply_to", "thread"})
        extra_kwargs: ClassVar[dict[str, Any]] = {
            "text": {"required": True, "allow_blank": False, "trim_whitespace": True}
        }


class EditSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=100_000)


class ApproveSerializer(serializers.Serializer[Any]):
    payload_sha256 = serializers.CharField(
        required=False, default="", help_text="What you saw; refused if the post has changed since."
    )


class PostFilter(filters.FilterSet):
    bot = filters.UUIDFilter(field_name="bot_id")
    state = filters.ChoiceFilter(choices=Post._meta.get_field("state").choices)
    arm = filters.ChoiceFilter(choices=Post.Arm.choices)


class PostViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Post.objects.select_related("reward", "connection").prefetch_related("images", "verdicts")
    serializer_class = PostSerializer
    filterset_class = PostFilter
    permissions: ClassVar[dict[str, str]] = {
        "list": "post_view",
        "retrieve": "post_view",
        "create": "post_write",
        "partial_update": "post_write",
        "approve": "post_approve",
        "decline": "post_approve",
        "cancel": "post_write",
        "publish_now": "post_approve",
        "take_down": "post_approve",
    }

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Propose a post, or with `thread` several: the rules and the bot's approval policy decide where each begins.
        The answer is the first.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        drafts = [posts.Draft(data["text"], reply_to=data.get("reply_to", ""))]
        drafts += [posts.Draft(text) for text in data.get("thread", [])]
        post = threads.propose_thread(data["bot"], drafts)[0]
        return self._answer(post.pk, status.HTTP_201_CREATED)

    @extend_schema(request=EditSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change the text; the post needs approval again."""
        self.get_object()  # a post that is not there is told before what is wrong with the text
        data = EditSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return self._act(posts.edit_post, text=data.validated_data["text"])

    @extend_schema(request=ApproveSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        data = ApproveSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return self._act(posts.approve_post, seen_sha256=data.validated_data["payload_sha256"] or None)

    @extend_schema(request=ReasonSerializer)
    @action(detail=True, methods=["post"])
    def decline(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        data = ReasonSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return self._act(posts.decline_post, reason=data.validated_data["reason"])

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._act(posts.cancel_post)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="publish-now")
    def publish_now(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give an approved post this very moment as its slot."""
        return self._act(scheduling.publish_now)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="take-down")
    def take_down(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete a published post on its platform."""
        return self._act(delivery.take_down_post)

    def _act(self, verb: Any, **arguments: Any) -> Response:
        post_id = self.get_object().pk
        try:
            verb(post_id, **arguments)
        except (IllegalTransition, FaceError) as error:
            raise Conflict(str(error)) from None
        return self._answer(post_id)

    def _answer(self, post_id: UUID, code: int = status.HTTP_200_OK) -> Response:
        return Response(self.get_serializer(self.get_queryset().get(pk=post_id)).data, status=code)


class ScoreSerializer(serializers.ModelSerializer[ScoreObservation]):
    class Meta:
        model = ScoreObservation
        fields = ("id", "post", "number", "age_seconds", "metrics", "followers", "simulated", "observed_at")


class ScoreFilter(filters.FilterSet):
    bot = filters.UUIDFilter(field_name="post__bot_id")
    post = filters.UUIDFilter(field_name="post_id")


class NewestReadingFirst(NewestFirst):
    ordering = ("-observed_at", "-pk")


class ScoreViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Every reading of reactions, as it was read."""

    queryset: QuerySet[ScoreObservation] = ScoreObservation.objects.all()
    serializer_class = ScoreSerializer
    filterset_class = ScoreFilter
    permissions: ClassVar[dict[str, str]] = {"list": "post_view", "retrieve": "post_view"}

    pagination_class = NewestReadingFirst
