"""API tokens over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import tokens
from accounts.api import OrganizationViewSet
from accounts.models import ApiToken
from accounts.roles import EVERY_PERMISSION


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    person = serializers.EmailField(source="membership.user.email", read_only=True)
    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=sorted(EVERY_PERMISSION)),
        allow_null=True,
        default=None,
        max_length=len(EVERY_PERMISSION),
        help_text="Permissions, of those of the person's role; null: all that it has at any time.",
    )

    class Meta:
        model = ApiToken
        fields: tuple[str, ...] = (
            "id",
            "name",
            "person",
            "prefix",
            "scopes",
            "created_at",
            "last_used_at",
            "expires_at",
            "revoked_at",
        )
        read_only_fields = ("prefix", "created_at", "last_used_at", "revoked_at")


class NewTokenSerializer(TokenSerializer):
    """A token with its secret, which no other answer holds."""

    secret = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields: tuple[str, ...] = (*TokenSerializer.Meta.fields, "secret")


class TokenViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Keys for programs. Admins see and revoke those of all members; everybody makes and rotates their own only."""

    queryset = ApiToken.objects.select_related("membership__user")
    serializer_class = TokenSerializer
    ordering_fields = ("created_at", "name", "expires_at", "last_used_at")
    untagged = frozenset({"last_used_at"})
    permissions: ClassVar[dict[str, str]] = {
        "list": "token_manage",
        "retrieve": "token_manage",
        "create": "token_manage",
        "rotate": "token_manage",
        "revoke": "token_manage",
    }

    @extend_schema(responses={201: NewTokenSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make a token for yourself. Its secret is in this answer, and in no other. A token that makes one passes on
        no scopes that it lacks, and none outlives it.
        """
        data = self.get_serializer(data=request.data)
        data.is_valid(raise_exception=True)
        made = tokens.create_token(self.membership, by=self._asking(), **data.validated_data)
        return _with_secret(*made, status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=NewTokenSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give one of your tokens a new secret. The old one is worth nothing from this moment on."""
        return _with_secret(*tokens.rotate_token(self.get_object().pk, self.membership, by=self._asking()))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End a token for good."""
        return Response(self.get_serializer(tokens.revoke_token(self.get_object().pk)).data)

    def _asking(self) -> ApiToken | None:
        """The token that sends this request; None for a person."""
        return self.request.auth if isinstance(self.request.auth, ApiToken) else None


def _with_secret(token: ApiToken, secret: str, code: int = status.HTTP_200_OK) -> Response:
    shown = TokenSerializer(token).data | {"secret": secret}
    return Response(shown, status=code, headers={"Cache-Control": "no-store"})
