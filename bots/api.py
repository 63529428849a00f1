"""Bots, schedules and scores over the API. Translates HTTP to services. Posts have their own module."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock
from accounts.api import OrganizationViewSet
from accounts.pagination import NewestFirst
from accounts.problems import Conflict
from bots import best_hours, costs, maturation, slots
from bots.models import Bot, Schedule, ScoreObservation
from bots.post_serializers import ReasonSerializer
from bots.reward_api import RewardActions
from bots.services import bots as bot_services
from bots.services import removal
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


class CostsSerializer(serializers.Serializer[Any]):
    """An average day of the bot as it is now: posts and billed readings, and what they cost in US dollars."""

    posts = serializers.FloatField()
    publishing = serializers.FloatField()
    readings = serializers.FloatField()
    reading = serializers.FloatField()
    total = serializers.FloatField()


class PointCostSerializer(serializers.Serializer[Any]):
    """What the platform charged in the last 30 days, and the reward that the posts of that time have earned."""

    spent = serializers.FloatField(help_text="US dollars; of a shared connection the bot's share.")
    points = serializers.FloatField(help_text="Of reward, by the bot's formula.")
    rewarded = serializers.IntegerField(help_text="Posts that have their reward.")
    per_point = serializers.FloatField(allow_null=True, help_text="US dollars; null: not yet known.")
    sentence = serializers.CharField()


class MaturitySerializer(serializers.Serializer[Any]):
    minutes = serializers.FloatField()
    share = serializers.FloatField(help_text="Of the reactions that a post ever gets, how many it has at that age.")


class BotViewSet(RewardActions, mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Bot.objects.select_related("connection")
    serializer_class = BotSerializer
    permissions: ClassVar[dict[str, str]] = {
        "list": "bot_view",
        "retrieve": "bot_view",
        "create": "bot_edit",
        "partial_update": "bot_edit",
        "destroy": "bot_edit",
        "pause": "bot_pause",
        "resume": "bot_pause",
        "costs": "schedule_view",
        "point_cost": "bot_view",
        "maturity": "bot_view",
        "replay": "bot_edit",
        "rescore": "bot_edit",
    }
    ordering_fields = ("created_at", "name")

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

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "history", str, enum=[removal.DISCARD], description="Needed for a bot that has published posts."
            )
        ]
    )
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete the bot with everything that is its own. What it published stays on its platform. Refused while posts
        are on their way or a run is under way.
        """
        bot = self.get_object()
        try:
            removal.delete_bot(bot, request.query_params.get("history", ""))
        except ValidationError as error:
            raise Conflict(" ".join(error.messages)) from None
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses=CostsSerializer)
    @action(detail=True)
    def costs(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What the bot's platform will charge for an average day."""
        return Response(CostsSerializer(costs.forecast(self.get_object())).data)

    @extend_schema(responses=PointCostSerializer)
    @action(detail=True, url_path="point-cost")
    def point_cost(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What a point of the bot's reward has cost in the last 30 days."""
        return Response(PointCostSerializer(costs.per_reward_point(self.get_object())).data)

    @extend_schema(responses=MaturitySerializer(many=True))
    @action(detail=True, pagination_class=None, filter_backends=[])
    def maturity(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """How much of its reactions a post has at each of the bot's reading ages."""
        curve = maturation.maturity_curve(self.get_object())
        return Response([{"minutes": minutes, "share": share} for minutes, share in curve])

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


class UpcomingSerializer(serializers.Serializer[Any]):
    next_slots = serializers.ListField(child=serializers.DateTimeField(), help_text="The next ten slots, in UTC.")
    words = serializers.CharField(help_text="The rule in words; empty where the slots say it best.")


class EffectSerializer(serializers.Serializer[Any]):
    at = serializers.IntegerField(help_text="The hour, 0–23, or the weekday, 0 for Monday.")
    posts = serializers.IntegerField()
    value = serializers.FloatField(help_text="What it adds to a post's reward, in standard deviations of rewards.")
    low = serializers.FloatField(help_text="Of its 95 % interval.")
    high = serializers.FloatField()
    spread = serializers.FloatField(help_text="Standard deviation of its posts.")


class SuggestionSerializer(serializers.Serializer[Any]):
    zone = serializers.CharField()
    posts = serializers.IntegerField(help_text="Posts with a reward that were looked at.")
    best = EffectSerializer(many=True)
    timetable = serializers.ListField(child=serializers.CharField(), help_text="The best hours on every day.")
    why_not = serializers.CharField(help_text="Why nothing is suggested; else empty.")
    hours = EffectSerializer(many=True)
    weekdays = EffectSerializer(many=True)


def _named_bot(request: Request) -> Bot:
    """The bot that the request's `bot` names. Raises ValidationError."""
    try:
        return Bot.objects.get(pk=UUID(request.query_params.get("bot", "")))
    except (ValueError, Bot.DoesNotExist):
        raise serializers.ValidationError({"bot": "Name one of the organization's bots by its id."}) from None


class ScheduleViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Schedule.objects.all()
    serializer_class = ScheduleSerializer
    untagged = frozenset({"next_slots"})
    filterset_fields = ("bot",)
    permissions: ClassVar[dict[str, str]] = {
        "list": "schedule_view",
        "retrieve": "schedule_view",
        "create": "schedule_edit",
        "partial_update": "schedule_edit",
        "destroy": "schedule_edit",
        "preview": "schedule_edit",
        "best_hours": "schedule_view",
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

    @extend_schema(responses=UpcomingSerializer)
    @action(detail=False, methods=["post"], pagination_class=None, filter_backends=[])
    def preview(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What a schedule that is not kept would mean."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        plan = bot_services.preview_schedule(**serializer.validated_data)
        return Response({"next_slots": plan.times, "words": plan.words})

    @extend_schema(
        parameters=[
            OpenApiParameter("bot", UUID, required=True),
            OpenApiParameter("zone", str, description="Time zone of the hours; else the bot's own, or UTC."),
        ],
        responses=SuggestionSerializer,
    )
    @action(detail=False, url_path="best-hours", pagination_class=None, filter_backends=[])
    def best_hours(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The hours of the day at which the bot's posts did well, from its own rewards."""
        bot = _named_bot(request)
        own = Schedule.objects.filter(bot=bot).values_list("zone", flat=True).first()
        zone = request.query_params.get("zone") or own or "UTC"
        if zone not in clock.zones():
            raise serializers.ValidationError({"zone": f"“{zone}” is no time zone. Use a name like Europe/Warsaw."})
        return Response(SuggestionSerializer(best_hours.suggest(bot, zone)).data)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        bot_services.remove_schedule(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class ScoreSerializer(serializers.ModelSerializer[ScoreObservation]):
    class Meta:
        model = ScoreObservation
        fields = ("id", "post", "number", "age_seconds", "metrics", "followers", "simulated", "observed_at")
        json_fields = {"metrics": {"type": "object", "additionalProperties": {"type": "number"}}}


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
