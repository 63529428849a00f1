"""Members and invitations over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock, invitations, members
from accounts.api import OrganizationViewSet
from accounts.models import Invitation, Membership
from accounts.roles import Role

STATES = ("open", "expired", "accepted", "revoked")
BY_PERSON = extend_schema(
    parameters=[OpenApiParameter("id", OpenApiTypes.UUID, "path", description="The person's id.")]
)


class MemberSerializer(serializers.ModelSerializer[Membership]):
    id = serializers.UUIDField(source="user_id", read_only=True, help_text="The person's id.")
    email = serializers.EmailField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)
    role = serializers.ChoiceField(choices=Role.choices, help_text="Never above your own.")

    class Meta:
        model = Membership
        fields = ("id", "email", "name", "role", "created_at")
        read_only_fields = ("created_at",)


@extend_schema_view(retrieve=BY_PERSON, partial_update=BY_PERSON, destroy=BY_PERSON)
class MemberViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Who belongs to the organization, and as what."""

    queryset = Membership.objects.select_related("user")
    serializer_class = MemberSerializer
    filterset_fields = ("role",)
    lookup_field, lookup_url_kwarg = "user_id", "pk"
    permissions: ClassVar[dict[str, str]] = {
        "list": "member_view",
        "retrieve": "member_view",
        "partial_update": "member_manage",
        "destroy": "member_manage",
    }

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give a member another role."""
        member = self.get_object()
        data = self.get_serializer(member, data=request.data)
        data.is_valid(raise_exception=True)
        changed = members.change_role(self.membership, member.user_id, data.validated_data["role"])
        return Response(self.get_serializer(changed).data)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End a membership, and with it the person's tokens of this organization."""
        members.remove_member(self.membership, self.get_object().user_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    role = serializers.ChoiceField(choices=Role.choices, help_text="Never above your own.")
    state = serializers.SerializerMethodField()

    class Meta:
        model = Invitation
        fields = ("id", "email", "role", "state", "invited_by", "created_at", "expires_at")
        read_only_fields = ("invited_by", "created_at", "expires_at")

    @extend_schema_field(serializers.ChoiceField(choices=STATES))
    def get_state(self, invitation: Invitation) -> str:
        if invitation.accepted_at:
            return "accepted"
        if invitation.revoked_at:
            return "revoked"
        return "expired" if invitation.expires_at <= clock.now() else "open"


class InvitationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Places in the organization that are offered by e-mail. The link in the mail stands nowhere else."""

    queryset = Invitation.objects.all()
    serializer_class = InvitationSerializer
    permissions: ClassVar[dict[str, str]] = dict.fromkeys(
        ("list", "retrieve", "create", "revoke", "resend"), "member_manage"
    )

    @extend_schema(responses={201: InvitationSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Invite an address. An invitation that it has already is renewed."""
        data = self.get_serializer(data=request.data)
        data.is_valid(raise_exception=True)
        invitation = invitations.invite(self.membership, **data.validated_data)
        return Response(self.get_serializer(invitation).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End an invitation: its link works no more."""
        return self._answer(invitations.revoke(self.membership, self.get_object().pk))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resend(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Send a new link, which holds for seven days; the old one ends."""
        return self._answer(invitations.resend(self.membership, self.get_object().pk))

    def _answer(self, invitation: Invitation) -> Response:
        return Response(self.get_serializer(invitation).data)
