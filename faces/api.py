"""Connections over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from accounts.problems import Conflict
from faces import authorizations, governor, services
from faces.contract import FaceError
from faces.models import Connection
from faces.registry import FACES

SETTINGS = {"type": "object", "additionalProperties": {}}


class CapabilitiesSerializer(serializers.Serializer[Any]):
    """What the platform takes."""

    max_length = serializers.IntegerField(help_text="Of a text.")
    counts_by = serializers.CharField()
    metrics = serializers.ListField(child=serializers.CharField(), help_text="Names of the reactions that are read.")
    can_reply = serializers.BooleanField()
    takes_images = serializers.BooleanField()
    max_images = serializers.IntegerField()
    can_thread = serializers.BooleanField()
    reads = serializers.ListField(child=serializers.CharField())
    label = serializers.CharField()  # type: ignore[assignment]  # a field has a label, too


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
            "learn_permission",
            "daily_budget",
            "simulated",
            "capabilities",
            "created_at",
        )
        read_only_fields = (
            "account",
            "state",
            "problem",
            "checked_at",
            "may_learn",
            "learn_permission",
            "daily_budget",
            "created_at",
        )
        json_fields = {"settings": SETTINGS}

    @extend_schema_field(CapabilitiesSerializer)
    def get_capabilities(self, connection: Connection) -> dict[str, Any]:
        can = connection.capabilities
        return {
            "max_length": can.max_length,
            "counts_by": can.counts_by,
            "metrics": list(can.metrics),
            "can_reply": can.can_reply,
            "takes_images": can.takes_images,
            "max_images": can.max_images,
            "can_thread": can.can_thread,
            "reads": sorted(can.reads),
            "label": can.label,
        }


class VerificationSerializer(serializers.Serializer[Any]):
    account = serializers.CharField()
    ok = serializers.BooleanField()
    missing = serializers.ListField(child=serializers.CharField())
    present = serializers.ListField(child=serializers.CharField())


class DepartureSerializer(serializers.Serializer[Any]):
    """An account whose owner must allow the connection on the platform's own page."""

    visit = serializers.URLField(help_text="Where the person whose token this is goes, signed in to Kilroy.")
    expires_at = serializers.DateTimeField(help_text="Until when they can come back.")


class LearningSerializer(serializers.Serializer[Any]):
    may_learn = serializers.BooleanField()
    learn_permission = serializers.CharField(
        required=False,
        allow_blank=True,
        default="",
        max_length=500,
        help_text="The permission you hold; needed where the platform's terms ask for one.",
    )


class BudgetSerializer(serializers.ModelSerializer[Connection]):
    class Meta:
        model = Connection
        fields = ("daily_budget",)


class TodaySerializer(serializers.Serializer[governor.Today]):
    """Calls and costs of the UTC day so far."""

    published = serializers.IntegerField()
    read = serializers.IntegerField()
    spent = serializers.FloatField(help_text="US dollars.")
    left = serializers.FloatField(allow_null=True, help_text="US dollars; null without a budget.")
    allows = serializers.ListField(child=serializers.CharField())


class FieldSerializer(serializers.Serializer[Any]):
    """One of the settings that a face asks for."""

    name = serializers.CharField()
    help = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment]  # fields have such, too
    secret = serializers.BooleanField(help_text="Sealed, and never shown again.")
    choices = serializers.ListField(child=serializers.CharField(), help_text="Empty where any text will do.")


class KindSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # as above
    description = serializers.CharField()
    consent = serializers.BooleanField(help_text="Whether the account's owner can allow the connection at `visit`.")
    steps = serializers.ListField(child=serializers.CharField(), help_text="How one gets what the settings ask for.")
    settings = FieldSerializer(many=True)


def _kind(name: str) -> dict[str, Any]:
    kind = FACES[name]
    form = kind.load_form()
    secret = getattr(form, "secret_fields", ())
    fields = [
        {
            "name": field,
            "help": str(each.help_text),
            "required": each.required or (field in secret and not kind.flow),
            "secret": field in secret,
            "choices": [str(value) for value, _ in getattr(each, "choices", ())],
        }
        for field, each in form.base_fields.items()
    ]
    told = {"label": kind.label, "description": kind.description, "consent": bool(kind.flow)}
    return {"kind": name, **told, "steps": list(getattr(form, "steps", ())), "settings": fields}


class ReconnectSerializer(serializers.Serializer[Any]):
    settings = serializers.JSONField(help_text="As `GET connections/kinds/` says for the kind.")

    class Meta:
        json_fields = {"settings": SETTINGS}


class ConnectionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    queryset = Connection.objects.all()
    serializer_class = ConnectionSerializer
    permissions: ClassVar[dict[str, str]] = {
        "list": "connection_view",
        "retrieve": "connection_view",
        "create": "connection_edit",
        "partial_update": "connection_edit",
        "verify": "connection_edit",
        "authorize": "connection_edit",
        "learning": "connection_edit",
        "budget": "connection_edit",
        "today": "connection_view",
        "kinds": "connection_view",
    }
    commits_midway = frozenset({"verify"})  # it may renew credentials, and finds out that a connection is broken
    ordering_fields = ("created_at", "name")

    @extend_schema(
        responses={
            201: ConnectionSerializer,
            202: OpenApiResponse(
                DepartureSerializer,
                "Nothing is connected yet: the account's owner must visit this address. With a token in the settings, "
                "where the face takes one, the answer is 201.",
            ),
        }
    )
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        if authorizations.needs_flow(given["kind"], _dictionary(given["settings"])):
            return self._depart(given["kind"], given["name"], given["settings"])
        connection = services.create_connection(**serializer.validated_data)
        return Response(self.get_serializer(connection).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=ReconnectSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Connect again: new settings or credentials; what is left out stays. Posts, scores and history are kept."""
        known = self.get_object()
        serializer = ReconnectSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        connection = services.reconnect(known.pk, _dictionary(serializer.validated_data["settings"]))
        return Response(self.get_serializer(connection).data)

    @extend_schema(request=None, responses=VerificationSerializer)
    @action(detail=True, methods=["post"])
    def verify(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Check the connection's credentials and permissions with the platform."""
        try:
            found = services.check_connection(self.get_object().pk)
        except FaceError as error:
            raise Conflict(str(error)) from None
        lists = {"missing": list(found.missing), "present": list(found.present)}
        return Response({"account": found.account, "ok": found.ok, **lists})

    @extend_schema(request=ReconnectSerializer, responses={202: DepartureSerializer})
    @action(detail=True, methods=["post"])
    def authorize(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Allow the connection anew on the platform's own page; posts, scores and history are kept."""
        connection = self.get_object()
        if not FACES[connection.kind].flow:
            raise Conflict(f"{connection.label} is connected by what its settings hold: send them by PATCH.")
        given = request.data.get("settings", {}) if isinstance(request.data, dict) else {}
        return self._depart(connection.kind, connection.name, _dictionary(given), connection)

    @extend_schema(request=LearningSerializer, responses=ConnectionSerializer)
    @action(detail=True, methods=["post"])
    def learning(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Allow or forbid that models learn from this account."""
        connection = self.get_object()
        serializer = LearningSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        if serializer.validated_data["may_learn"]:
            changed = services.allow_learning(connection.pk, serializer.validated_data["learn_permission"])
        else:
            changed = services.forbid_learning(connection.pk)
        return Response(self.get_serializer(changed).data)

    @extend_schema(request=BudgetSerializer, responses=ConnectionSerializer)
    @action(detail=True, methods=["post"])
    def budget(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Say what calls may cost per UTC day, in US dollars; null: no bound."""
        serializer = BudgetSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        changed = governor.set_budget(self.get_object().pk, serializer.validated_data.get("daily_budget"))
        return Response(self.get_serializer(changed).data)

    @extend_schema(responses=TodaySerializer)
    @action(detail=True)
    def today(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Calls and costs since midnight UTC."""
        return Response(TodaySerializer(governor.today(self.get_object())).data)

    @extend_schema(responses=KindSerializer(many=True))
    @action(detail=False, pagination_class=None, filter_backends=[])
    def kinds(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Every platform that can be connected, and what it asks for."""
        return Response(KindSerializer([_kind(name) for name in FACES], many=True).data)

    def _depart(self, kind: str, name: str, settings: Any, connection: Connection | None = None) -> Response:
        try:
            begun = authorizations.begin(kind, name, settings, self.membership.user_id, connection)
        except FaceError as error:
            raise Conflict(str(error)) from None
        answer = {"visit": begun.url, "expires_at": begun.authorization.expires_at}
        return Response(answer, status=status.HTTP_202_ACCEPTED)


def _dictionary(settings: Any) -> dict[str, Any]:
    """Settings as an object. Raises ValidationError."""
    if not isinstance(settings, dict):
        raise ValidationError({"settings": "Send the settings as an object: {name: value}."})
    return settings
