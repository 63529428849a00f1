"""What a person was told, and how they want to be told, over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import notifications
from accounts.api import OrganizationViewSet
from accounts.models import Notification, NotificationChoice
from accounts.notification_kinds import KINDS


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    class Meta:
        model = Notification
        fields = ("id", "kind", "title", "text", "path", "subject", "created_at", "read_at")
        read_only_fields = fields


class NotificationFilter(filters.FilterSet):
    unread = filters.BooleanFilter(field_name="read_at", lookup_expr="isnull")
    kind = filters.ChoiceFilter(choices=[(name, kind.label) for name, kind in KINDS.items()])


class NotificationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """What you were told of this organization, and nobody else was: newest first."""

    queryset = Notification.objects.all()
    serializer_class = NotificationSerializer
    filterset_class = NotificationFilter
    permissions: ClassVar[dict[str, str]] = dict.fromkeys(("list", "retrieve", "read", "read_all"), "organization_view")

    def get_queryset(self) -> QuerySet[Notification]:
        if getattr(self, "swagger_fake_view", False):
            return Notification.objects.none()  # nobody asks: the schema is being written
        return notifications.shown_to(self.membership)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def read(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Mark it read."""
        row = notifications.read(self.membership, self.get_object().pk)
        return Response(self.get_serializer(row).data)

    @extend_schema(request=None, responses=inline_serializer("ReadNotifications", {"read": serializers.IntegerField()}))
    @action(detail=False, methods=["post"], url_path="read-all", filterset_class=None)
    def read_all(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Mark all of them read; answers how many were not."""
        return Response({"read": notifications.read_all(self.membership)})


class NotificationChoiceSerializer(serializers.ModelSerializer[NotificationChoice]):
    kind = serializers.CharField(read_only=True)
    title = serializers.SerializerMethodField(help_text="The kind, in words.")

    class Meta:
        model = NotificationChoice
        fields = ("kind", "title", "on_page", "email")

    def get_title(self, choice: NotificationChoice) -> str:
        return KINDS[choice.kind].label


class NotificationChoiceViewSet(OrganizationViewSet):
    """How you want to be told of each kind of thing that your role may hear of."""

    queryset = NotificationChoice.objects.all()
    serializer_class = NotificationChoiceSerializer
    pagination_class = None
    filter_backends = ()
    lookup_value_regex = "[a-z_.]+"
    permissions: ClassVar[dict[str, str]] = dict.fromkeys(("list", "partial_update"), "organization_view")

    @extend_schema(responses=NotificationChoiceSerializer(many=True))
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Yours, or what holds until you choose."""
        found = notifications.choices_of(self.membership)
        return Response(self.get_serializer(found, many=True).data)

    @extend_schema(
        parameters=[OpenApiParameter("id", OpenApiTypes.STR, "path", description="A kind, like `queue.empty`.")]
    )
    def partial_update(self, request: Request, pk: str, *args: Any, **kwargs: Any) -> Response:
        """Choose for one kind."""
        self.get_object()
        data = self.get_serializer(data=request.data, partial=True)
        data.is_valid(raise_exception=True)
        choice = notifications.choose(self.membership.user, pk, **data.validated_data)
        return Response(self.get_serializer(choice).data)

    def get_object(self) -> NotificationChoice:
        """The choice for a kind, stored or not. Raises Http404."""
        for choice in notifications.choices_of(self.membership):
            if choice.kind == self.kwargs["pk"]:
                return choice
        raise Http404
