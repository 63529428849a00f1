"""The pipeline that needs no person over the API: harvests, training again by itself, and posts written ahead."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.pagination import NewestFirst
from bots.models import Bot
from faces.models import Connection
from training import shapes
from training.api import OfBot
from training.generation_api import GenerationSerializer
from training.models import Generation, Harvest, Retraining
from training.services import generations, harvests, retraining


class HarvestSerializer(serializers.ModelSerializer[Harvest]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    connection = serializers.PrimaryKeyRelatedField(queryset=Connection.objects.all())

    class Meta:
        model = Harvest
        fields = (
            "id",
            "bot",
            "connection",
            "dataset",
            "account",
            "every_minutes",
            "active",
            "since",
            "next_at",
            "last_at",
            "last_found",
            "problem",
        )
        read_only_fields = ("dataset", "active", "since", "next_at", "last_at", "last_found", "problem")
        validators: ClassVar[list[Any]] = []  # that an account is harvested once, the service says in better words


class HarvestChangeSerializer(serializers.Serializer[Any]):
    every_minutes = serializers.IntegerField(required=False)
    active = serializers.BooleanField(required=False)


class NewestHarvestFirst(NewestFirst):
    ordering = ("-pk",)


class HarvestViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Accounts whose posts are read on a schedule, each into a dataset of its own."""

    queryset = Harvest.objects.all()
    serializer_class = HarvestSerializer
    filterset_class = OfBot
    pagination_class = NewestHarvestFirst
    permissions: ClassVar[dict[str, str]] = {
        "list": "dataset_view",
        "retrieve": "dataset_view",
        "create": "dataset_edit",
        "partial_update": "dataset_edit",
        "destroy": "dataset_edit",
        "now": "dataset_edit",
    }

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Read an account from now on: the connection's own, or another where its platform shows those."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        harvest = harvests.create_harvest(**serializer.validated_data)
        return Response(self.get_serializer(harvest).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=HarvestChangeSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change how often the account is read, or switch the harvest off or on."""
        harvest = self.get_object()
        data = HarvestChangeSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return Response(self.get_serializer(harvests.change_harvest(harvest.pk, **data.validated_data)).data)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Read the account no more; what was read stays as a dataset."""
        harvests.remove_harvest(self.get_object().pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def now(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Read the account at once."""
        return Response(self.get_serializer(harvests.harvest_now(self.get_object().pk)).data)


class RetrainingSerializer(serializers.ModelSerializer[Retraining]):
    bot = serializers.UUIDField(source="bot_id", read_only=True)
    config = serializers.DictField(required=False)

    class Meta:
        model = Retraining
        fields = (
            "bot",
            "active",
            "every_hours",
            "least_new_examples",
            "config",
            "tag",
            "most_loss_increase",
            "make_current",
            "learned_examples",
            "last_run",
            "next_at",
            "result",
        )
        read_only_fields = ("learned_examples", "last_run", "next_at", "result")
        json_fields = {"config": shapes.OFFLINE}


class RetrainingViewSet(OrganizationViewSet):
    """How a bot is trained again by itself, by the bot's id. Off until somebody turns it on."""

    queryset = Bot.objects.all()
    serializer_class = RetrainingSerializer
    permissions: ClassVar[dict[str, str]] = {"retrieve": "run_view", "partial_update": "run_control"}

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        row = Retraining.objects.filter(bot=self.get_object()).first()
        if row is None:
            raise NotFound("Nobody has set this bot's retraining up yet: PATCH it.")
        return Response(self.get_serializer(row).data)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        bot = self.get_object()
        data = self.get_serializer(data=request.data, partial=True)
        data.is_valid(raise_exception=True)
        return Response(self.get_serializer(retraining.set_retraining(bot, **data.validated_data)).data)


class AheadSerializer(serializers.Serializer[Any]):
    """How many posts to write into a bot's queue, and how to draw them."""

    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    count = serializers.IntegerField(min_value=1, max_value=generations.MOST_AHEAD)
    params = serializers.DictField(required=False, help_text="As for `generate`: temperature, top_p, seed and so on.")

    class Meta:
        json_fields = {"params": shapes.DrawingSerializer}


class WriteAheadViewSet(OrganizationViewSet):
    queryset = Generation.objects.all()
    serializer_class = AheadSerializer
    pagination_class = None
    permissions: ClassVar[dict[str, str]] = {"create": "generate"}

    @extend_schema(request=AheadSerializer, responses={202: GenerationSerializer(many=True)})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Let the bot's current version write posts into its queue. Answers with the requests that do so."""
        data = self.get_serializer(data=request.data)
        data.is_valid(raise_exception=True)
        asked = generations.write_ahead(**data.validated_data)
        return Response(GenerationSerializer(asked, many=True).data, status=status.HTTP_202_ACCEPTED)
