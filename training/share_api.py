"""Share links over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from bots.models import Bot
from training.api import OfBot
from training.models import ShareLink
from training.services import sharing


class ShareLinkSerializer(serializers.ModelSerializer[ShareLink]):
    bot = serializers.PrimaryKeyRelatedField(queryset=Bot.objects.all())
    address = serializers.SerializerMethodField(help_text="Of the page; empty once the link is revoked.")

    class Meta:
        model = ShareLink
        fields = (
            "id",
            "bot",
            "label",
            "shows_posts",
            "address",
            "expires_at",
            "revoked_at",
            "last_seen_at",
            "created_by",
            "created_at",
        )
        read_only_fields = ("revoked_at", "last_seen_at", "created_by", "created_at")

    def get_address(self, link: ShareLink) -> str:
        return "" if link.revoked_at else sharing.address_of(link)


class ShareLinkViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Whoever has a link's address sees the bot's progress without signing in."""

    queryset = ShareLink.objects.all()
    serializer_class = ShareLinkSerializer
    filterset_class = OfBot
    permissions: ClassVar[dict[str, str]] = {
        "list": "bot_edit",
        "retrieve": "bot_edit",
        "create": "bot_edit",
        "revoke": "bot_edit",
    }

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        link = sharing.make_link(**serializer.validated_data)
        return Response(self.get_serializer(link).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End the link: from now on its page is not found."""
        return Response(self.get_serializer(sharing.revoke_link(self.get_object().pk)).data)
