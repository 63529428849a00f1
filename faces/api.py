"""Connections over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.problems import Conflict
from faces.contract import FaceError
from faces.models import Connection
from faces.registry import FACES
from faces.services import check_connection, create_connection, reconnect


class ConnectionSerializer(serializers.ModelSerializer[Connection]):
    kind = serializers.ChoiceField(choices=sorted(FACES))
    settings = serializers.JSONField(
        required=False,
        default=dict,
        help_text="What the face's form asks for. Credentials among it are sealed and never shown again.",
    )
    simulated = serializers.BooleanField(read_only=True, help_text="Reactions here are simulated, never real.")
    capabilities = serializers.SerializerMethodField()

    class Meta:
        model = Connection
        fields = (
            "id",
            "kind",
            "name",
            "settings",
            "account",
            "state",
            "problem",
            "checked_at",
            "may_learn",
            "simulated",
            "capabilities",
            "created_at",
        )
        read_only_fields = ("account", "state", "problem", "checked_at", "may_learn", "created_at")

    @extend_schema_field({"type": "object", "additionalProperties": True})
    def get_capabilities(self, connection: Connection) -> dict[str, Any]:
        can = connection.capabilities
        return {
            "max_length": can.max_length,
            "counts_by": can.counts_by,
            "metrics": list(can.metrics),
            "can_reply": can.can_reply,
            "takes_images": can.takes_images,
        }


class VerificationSerializer(serializers.Serializer[Any]):
    account = serializers.CharField()
    ok = serializers.BooleanField()
    missing = serializers.ListField(child=serializers.CharField())


class ReconnectSerializer(serializers.Serializer[Any]):
    settings = serializers.JSONField()


class ConnectionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Connection.objects.all()
    serializer_class = ConnectionSerializer
    permissions: ClassVar[dict[str, str]] = {
        "list": "connection_view",
        "retrieve": "connection_view",
        "create": "connection_edit",
        "partial_update": "connection_edit",
        "verify": "connection_edit",
    }

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        connection = create_connection(**serializer.validated_data)
        return Response(self.get_serializer(connection).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Connect again: new settings or credentials; what is left out stays. Posts, scores and history are kept."""
        known = self.get_object()
        serializer = ReconnectSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        connection = reconnect(known.pk, serializer.validated_data["settings"])
        return Response(self.get_serializer(connection).data)

    @extend_schema(request=None, responses=VerificationSerializer)
    @action(detail=True, methods=["post"])
    def verify(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Check the connection's credentials and permissions with the platform."""
        try:
            found = check_connection(self.get_object().pk)
        except FaceError as error:
            raise Conflict(str(error)) from None
        return Response({"account": found.account, "ok": found.ok, "missing": list(found.missing)})
