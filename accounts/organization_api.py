"""Organizations over the API: one's own, and what is done to one as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts import audit, invitations, leaving, members, organizations, services, throttles
from accounts.access import client_address
from accounts.api import OrganizationViewSet
from accounts.models import ApiToken, Membership, Organization, User
from accounts.problems import MissingScope
from accounts.roles import Role
from accounts.schema import ApiSchema
from accounts.tenancy import no_tenant

SEEING = "organization_view"


class OrganizationSerializer(serializers.ModelSerializer[Membership]):
    """An organization, as the one who asks belongs to it."""

    name = serializers.CharField(source="organization.name", max_length=120)
    slug = serializers.SlugField(source="organization.slug", read_only=True, help_text="Stays when the name changes.")
    role = serializers.ChoiceField(choices=Role.choices, read_only=True, help_text="Yours.")
    demands_mfa = serializers.BooleanField(
        source="organization.demands_mfa",
        required=False,
        help_text="Members without a second factor, and their tokens, are kept out. Owners who have one change it.",
    )
    paused_at = serializers.DateTimeField(source="organization.paused_at", read_only=True, allow_null=True)
    deletion_requested_at = serializers.DateTimeField(
        source="organization.deletion_requested_at", read_only=True, allow_null=True
    )
    deletes_at = serializers.DateTimeField(
        source="organization.deletes_at",
        read_only=True,
        allow_null=True,
        help_text="When a deletion that was asked for can no longer be undone.",
    )
    created_at = serializers.DateTimeField(source="organization.created_at", read_only=True)

    class Meta:
        model = Membership
        fields = (
            "name",
            "slug",
            "role",
            "demands_mfa",
            "paused_at",
            "deletion_requested_at",
            "deletes_at",
            "created_at",
        )


class NewOrganizationSerializer(serializers.ModelSerializer[Organization]):
    class Meta:
        model = Organization
        fields = ("name",)


class TransferSerializer(serializers.Serializer[Any]):
    member = serializers.UUIDField(help_text="The id of the member who becomes owner. You become an admin.")


class InvitationSecretSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(max_length=100, help_text="The last part of the link in the mail.")


class PersonSchema(ApiSchema):
    """Adds to each operation how it may be refused."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            for code in ("400", "401", "403", "404", "406", "413", "415", "429"):
                operation["responses"].setdefault(code, self._refusal(code))
        return operation


class PersonViewSet(GenericViewSet[Any]):
    """Base of what is a person's own and below no organization. `for_people` names the actions that a token, which is
    bound to one organization, cannot do.
    """

    for_people: ClassVar[frozenset[str]] = frozenset()
    metadata_class = None
    schema = PersonSchema()
    person: User
    used: Sequence[throttles.Used] = ()

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with no_tenant(), audit.acting(audit.SYSTEM):
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        assert isinstance(request.user, User)  # IsAuthenticated
        caller = request.auth.pk if isinstance(request.auth, ApiToken) else request.user.pk
        self.used = throttles.count(throttles.Limit("caller", str(caller)))
        if isinstance(request.auth, ApiToken) and self.action in self.for_people:
            raise PermissionDenied("A token is bound to its organization: sign in as a person to do this.")
        self.person = request.user
        audit.become(audit.Actor(self.person.email, self.person, client_address(request)))

    def finalize_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(*args, **kwargs)
        throttles.tell(response, self.used)
        return response


@extend_schema(tags=["organizations"])
class OrganizationsViewSet(mixins.ListModelMixin, PersonViewSet):
    """The organizations that you belong to; of a token, the one that it is bound to."""

    serializer_class = OrganizationSerializer
    for_people = frozenset({"create"})

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):
            return Membership.objects.none()  # nobody asks: the schema is being written
        # everyone: the memberships of whoever asks, across organizations.
        mine = Membership.everyone.filter(user=self.person).select_related("organization")
        token = self.request.auth
        if not isinstance(token, ApiToken):
            return mine
        if not token.membership.allows(SEEING):
            raise MissingScope(f"This token lacks the scope “{SEEING}”.", scope=SEEING)
        return mine.filter(pk=token.membership_id)

    @extend_schema(request=NewOrganizationSerializer, responses={201: OrganizationSerializer})
    def create(self, request: Request) -> Response:
        """Begin an organization. You own it."""
        data = NewOrganizationSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        organization = organizations.begin_organization(data.validated_data["name"], self.person)
        made = self.get_queryset().get(organization=organization)
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)


@extend_schema(tags=["invitations"])
class InvitationAcceptanceViewSet(PersonViewSet):
    for_people = frozenset({"accept"})

    @extend_schema(request=InvitationSecretSerializer, responses={201: OrganizationSerializer})
    def accept(self, request: Request) -> Response:
        """Accept an invitation to your verified address: you become a member."""
        data = InvitationSecretSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        invitation = invitations.find_invitation(data.validated_data["secret"])
        if invitation is None:
            raise serializers.ValidationError({"secret": "This is no invitation's secret."})  # nosec B105 # words for people
        member = invitations.accept(invitation, self.person)
        return Response(OrganizationSerializer(member).data, status=status.HTTP_201_CREATED)


@extend_schema(tags=["organizations"])
class ThisOrganizationViewSet(OrganizationViewSet):
    """One organization as a whole."""

    serializer_class = OrganizationSerializer
    pagination_class = None
    permissions: ClassVar[dict[str, str]] = {
        "retrieve": "organization_view",
        "partial_update": "organization_edit",
        "destroy": "organization_delete",
        "undo_deletion": "organization_delete",
        "pause": "bot_pause",
        "resume": "bot_pause",
        "transfer": "organization_transfer",
        "leave": "organization_view",
    }

    def retrieve(self, request: Request, slug: str) -> Response:
        return self._answer()

    def partial_update(self, request: Request, slug: str) -> Response:
        """Rename it (the slug stays), or demand a second factor of its members."""
        data = self.get_serializer(data=request.data, partial=True)
        data.is_valid(raise_exception=True)
        wanted = data.validated_data.get("organization", {})
        if "demands_mfa" in wanted:
            organizations.demand_second_factor(self.membership, wanted["demands_mfa"])
        if "name" in wanted:
            organizations.rename_organization(self.membership.organization_id, wanted["name"])
        return self._answer()

    @extend_schema(responses={202: OrganizationSerializer})
    def destroy(self, request: Request, slug: str) -> Response:
        """Pause everything of it, and delete it in 14 days. Until then an owner can undo this."""
        leaving.request_deletion(self.membership.organization_id)
        return self._answer(status.HTTP_202_ACCEPTED)

    @extend_schema(request=None)
    def undo_deletion(self, request: Request, slug: str) -> Response:
        """Let it live on."""
        leaving.undo_deletion(self.membership.organization_id)
        return self._answer()

    @extend_schema(request=None)
    def pause(self, request: Request, slug: str) -> Response:
        """Publish nothing of it from now on."""
        services.pause_organization(self.membership.organization)
        return self._answer()

    @extend_schema(request=None)
    def resume(self, request: Request, slug: str) -> Response:
        """Publish again. Slots that passed meanwhile count as missed."""
        services.resume_organization(self.membership.organization)
        return self._answer()

    @extend_schema(request=TransferSerializer)
    def transfer(self, request: Request, slug: str) -> Response:
        """Hand it over to another member: they own it, and you become an admin."""
        data = TransferSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        try:
            members.transfer_ownership(self.membership, data.validated_data["member"])
        except Membership.DoesNotExist:
            raise serializers.ValidationError({"member": "There is no member with this id."}) from None
        return self._answer()

    @extend_schema(request=None, responses={204: None})
    def leave(self, request: Request, slug: str) -> Response:
        """End your membership, and with it your tokens of this organization."""
        members.leave(self.membership)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _answer(self, code: int = status.HTTP_200_OK) -> Response:
        """The organization as it is now, whichever row a service changed."""
        present = Membership.objects.select_related("organization").get(pk=self.membership.pk)
        return Response(self.get_serializer(present).data, status=code)
