"""Webhooks over the API: made, changed, tested, their secrets turned; what was sent, and sending it again."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import webhooks
from accounts.api import OrganizationViewSet
from accounts.models import Webhook, WebhookDelivery
from accounts.webhook_events import CHOICES, EVENTS

_EVENTS_HELP = "Names of the events to be told of.\n\n" + "\n".join(
    f"- `{name}`: {event.description}" for name, event in EVENTS.items()
)


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    url = serializers.CharField(max_length=500, help_text="Where to send: an address that begins with https://.")
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=CHOICES), allow_empty=False, help_text=_EVENTS_HELP
    )
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)

    class Meta:
        model = Webhook
        fields: ClassVar[tuple[str, ...]] = (
            "id",
            "url",
            "description",
            "events",
            "active",
            "disabled_reason",
            "failing_since",
            "created_at",
        )
        read_only_fields: ClassVar[tuple[str, ...]] = ("active", "disabled_reason", "failing_since", "created_at")


class WebhookChangeSerializer(WebhookSerializer):
    active = serializers.BooleanField(required=False)

    class Meta(WebhookSerializer.Meta):
        fields = ("url", "description", "events", "active")
        read_only_fields = ()


class WebhookSecretSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="`whsec_…`: shown this once. Every message is signed with it.")


class CreatedWebhookSerializer(WebhookSerializer):
    secret = serializers.CharField(read_only=True, help_text="`whsec_…`: shown this once.")

    class Meta(WebhookSerializer.Meta):
        fields = (*WebhookSerializer.Meta.fields, "secret")


class AttemptSerializer(serializers.Serializer[Any]):
    """One attempt to send a message."""

    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True, help_text="What the receiver answered; null: nothing.")
    error = serializers.CharField(help_text="Why there was no answer, in words.")
    milliseconds = serializers.IntegerField()


class WebhookMessageSerializer(serializers.Serializer[Any]):
    """What a receiver is sent."""

    type = serializers.CharField()
    timestamp = serializers.DateTimeField(help_text="When it happened.")
    data = serializers.DictField(  # type: ignore[assignment]  # DRF takes fields out of the class: nothing is hidden
        help_text="Ids, states, the organization's slug, and `urls` of the objects named."
    )


class WebhookDeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    payload = WebhookMessageSerializer(read_only=True)
    log = AttemptSerializer(many=True, read_only=True, help_text="The latest ten attempts, oldest first.")

    class Meta:
        model = WebhookDelivery
        fields = (
            "id",
            "webhook",
            "event",
            "payload",
            "state",
            "attempts",
            "log",
            "next_attempt_at",
            "delivered_at",
            "created_at",
        )
        read_only_fields = fields


class WebhookViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Addresses of yours that are told of events, by signed messages (docs/webhooks.md)."""

    queryset = Webhook.objects.all()
    serializer_class = WebhookSerializer
    filterset_fields = ("active",)
    permissions: ClassVar[dict[str, str]] = dict.fromkeys(
        ("list", "retrieve", "create", "partial_update", "destroy", "test", "rotate_secret"), "webhook_manage"
    )

    @extend_schema(request=WebhookSerializer, responses={201: CreatedWebhookSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Be told of events. The answer holds the signing secret, this once."""
        data = self.get_serializer(data=request.data)
        data.is_valid(raise_exception=True)
        webhook, secret = webhooks.create_webhook(**data.validated_data)
        return Response({**self.get_serializer(webhook).data, "secret": secret}, status=status.HTTP_201_CREATED)

    @extend_schema(request=WebhookChangeSerializer, responses=WebhookSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change a webhook, or switch it off or on. Switched off, it gives up what waits."""
        webhook = self.get_object()
        data = WebhookChangeSerializer(data=request.data, partial=True)
        data.is_valid(raise_exception=True)
        return Response(self.get_serializer(webhooks.change_webhook(webhook.pk, **data.validated_data)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete a webhook with its log of deliveries."""
        webhooks.delete_webhook(self.get_object().pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses={202: WebhookDeliverySerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Send a message of the type `webhook.test`. The answer is its delivery, which tells soon how it went."""
        row = webhooks.send_test(self.get_object().pk)
        return Response(WebhookDeliverySerializer(row).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses=WebhookSecretSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-secret")
    def rotate_secret(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Replace the signing secret. For 24 hours messages carry a signature of the old one too."""
        _, secret = webhooks.rotate_secret(self.get_object().pk)
        return Response({"secret": secret})


@extend_schema(
    examples=[
        OpenApiExample(
            name,
            summary=event.description,
            value={
                "id": "0f8fad5b-d9cb-469f-a165-70867728950e",
                "webhook": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
                "event": name,
                "payload": {
                    "type": name,
                    "timestamp": "2026-01-01T09:00:00+00:00",
                    "data": {"organization": "acme", **event.example, "urls": {}},
                },
                "state": "delivered",
                "attempts": 1,
                "log": [{"at": "2026-01-01T09:00:01+00:00", "status": 200, "error": "", "milliseconds": 84}],
                "next_attempt_at": None,
                "delivered_at": "2026-01-01T09:00:01+00:00",
                "created_at": "2026-01-01T09:00:00+00:00",
            },
            response_only=True,
        )
        for name, event in EVENTS.items()
    ]
)
class WebhookDeliveryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Messages that were or will be sent to webhooks, of the last 30 days."""

    queryset = WebhookDelivery.objects.all()
    serializer_class = WebhookDeliverySerializer
    filterset_fields = ("webhook", "state", "event")
    permissions: ClassVar[dict[str, str]] = dict.fromkeys(("list", "retrieve", "redeliver"), "webhook_manage")

    @extend_schema(request=None, responses={202: WebhookDeliverySerializer})
    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Send a message again, under the same id."""
        row = webhooks.redeliver(self.get_object().pk)
        return Response(self.get_serializer(row).data, status=status.HTTP_202_ACCEPTED)
