"""The calendar over the API, by the bot's id: days with their posts and free slots, and moving a post."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock
from accounts.api import OrganizationViewSet
from accounts.problems import Conflict
from bots import calendar
from bots.models import Bot, Post, check_zone
from bots.services import moving
from bots.states import IllegalTransition

MOST_DAYS, SHOWN, FREE = 42, 50, 50


class CalendarEntrySerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="post.pk")
    at = serializers.DateTimeField(help_text="When it was published, or is planned.")
    state = serializers.CharField(source="post.state")
    text = serializers.CharField(source="post.text")
    movable = serializers.BooleanField()


class CalendarDaySerializer(serializers.Serializer[Any]):
    date = serializers.DateField()
    begins = serializers.DateTimeField()
    ends = serializers.DateTimeField()
    posts = CalendarEntrySerializer(source="entries", many=True)
    more = serializers.IntegerField(help_text=f"Posts beyond the first {SHOWN}; counted to about {calendar.MOST}.")
    free = serializers.ListField(
        child=serializers.DateTimeField(), help_text=f"Free slots of the schedules, the first {FREE}."
    )


class CalendarSerializer(serializers.ModelSerializer[Bot]):
    bot = serializers.UUIDField(source="pk", read_only=True)
    zone = serializers.SerializerMethodField(help_text="The time zone that the days are of.")
    days = serializers.SerializerMethodField()

    class Meta:
        model = Bot
        fields = ("bot", "zone", "days")

    def get_zone(self, bot: Bot) -> str:
        return str(self.context["zone"].key)

    @extend_schema_field(CalendarDaySerializer(many=True))
    def get_days(self, bot: Bot) -> list[dict[str, Any]]:
        asked = self.context["asked"]
        first = asked.get("begin") or clock.now().astimezone(self.context["zone"]).date()
        days = calendar.days_of(bot, first, asked["days"], self.context["zone"], shown=SHOWN, free=FREE)
        return list(CalendarDaySerializer(days, many=True).data)


class CalendarAskedSerializer(serializers.Serializer[Any]):
    begin = serializers.DateField(required=False, help_text="The first day; today unless given.")
    days = serializers.IntegerField(required=False, default=7, min_value=1, max_value=MOST_DAYS)
    zone = serializers.CharField(required=False, max_length=60, validators=[check_zone])

    def validate_begin(self, begin: date) -> date:
        if not calendar.EARLIEST <= begin <= calendar.LATEST - timedelta(days=MOST_DAYS):
            raise serializers.ValidationError(f"The calendar goes from {calendar.EARLIEST} to {calendar.LATEST}.")
        return begin


class MovePostSerializer(serializers.Serializer[Any]):
    post = serializers.PrimaryKeyRelatedField(queryset=Post.objects.all())
    at = serializers.DateTimeField(help_text="When it is to be sent.")
    seen = serializers.DateTimeField(
        allow_null=True, help_text="Its `slot_utc` as you saw it; refused when somebody moved it meanwhile."
    )


class MovedSerializer(serializers.Serializer[Any]):
    post = serializers.UUIDField(source="post.pk")
    at = serializers.DateTimeField(source="post.slot_utc")
    before = serializers.DateTimeField(allow_null=True, help_text="Where it stood.")


class CalendarViewSet(OrganizationViewSet):
    queryset = Bot.objects.select_related("connection", "organization")
    serializer_class = CalendarSerializer
    pagination_class = None
    permissions: ClassVar[dict[str, str]] = {"retrieve": "post_view", "move": "schedule_edit"}

    @extend_schema(
        parameters=[
            OpenApiParameter("begin", OpenApiTypes.DATE, description="The first day; today unless given."),
            OpenApiParameter("days", OpenApiTypes.INT, description=f"How many, at most {MOST_DAYS}; 7 unless given."),
            OpenApiParameter("zone", str, description="Of the days; the schedule's time zone unless given."),
        ]
    )
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The days of the bot's calendar, with what was published, what is planned, and which slots are free."""
        bot = self.get_object()
        asked = CalendarAskedSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        zone = ZoneInfo(data["zone"]) if "zone" in data else calendar.zone_of(bot)
        return Response(CalendarSerializer(bot, context={"asked": data, "zone": zone}).data)

    @extend_schema(request=MovePostSerializer, responses=MovedSerializer)
    @action(detail=True, methods=["post"])
    def move(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Move an approved or scheduled post to another moment. Quiet hours, another post's slot, a day that is full
        and the past are refused; move it back to undo.
        """
        bot = self.get_object()
        asked = MovePostSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        try:
            moved = moving.move_post(bot, data["post"].pk, data["at"], data["seen"])
        except IllegalTransition as error:
            raise Conflict(str(error)) from None
        return Response(MovedSerializer(moved).data)
