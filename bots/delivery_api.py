"""Delivery over the API: the organization's kill switch, and posts whose outcome a person has to find out."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import services, site
from accounts.api import OrganizationViewSet
from accounts.problems import Conflict
from bots.models import Post
from bots.services import needs_human
from bots.states import IllegalTransition, PostState


@extend_schema_serializer(many=False)
class PublishingSerializer(serializers.Serializer[Any]):
    paused_at = serializers.DateTimeField(allow_null=True, help_text="Since when nothing of it is published.")
    site_paused = serializers.CharField(help_text="Why nothing of the whole installation is published; or empty.")
    needs_human = serializers.IntegerField(help_text="Posts whose outcome a person has to find out.")


class PublishingViewSet(OrganizationViewSet):
    """Whether the organization publishes, and its kill switch."""

    serializer_class = PublishingSerializer
    pagination_class = None
    filter_backends = ()
    permissions: ClassVar[dict[str, str]] = {"list": "bot_view", "pause": "bot_pause", "resume": "bot_pause"}

    @extend_schema(operation_id="publishing_get")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._answer()

    @extend_schema(request=None)
    @action(detail=False, methods=["post"])
    def pause(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """From now on no send of this organization begins."""
        services.pause_organization(self.membership.organization)
        return self._answer()

    @extend_schema(request=None)
    @action(detail=False, methods=["post"])
    def resume(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        services.resume_organization(self.membership.organization)
        return self._answer()

    def _answer(self) -> Response:
        state = {
            "paused_at": self.membership.organization.paused_at,
            "site_paused": site.paused(),
            "needs_human": needs_human.waiting(),
        }
        return Response(self.get_serializer(state).data)


class UnsettledSerializer(serializers.ModelSerializer[Post]):
    state = serializers.CharField(read_only=True)

    class Meta:
        model = Post
        fields = ("id", "bot", "connection", "text", "state", "sent_at", "last_error", "remote_id", "remote_url")
        read_only_fields = fields


class ReferenceSerializer(serializers.Serializer[Any]):
    reference = serializers.CharField(max_length=300, help_text="The post's link, or its id on the platform.")


class NeedsHumanViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Posts that may be on their platform or not: a person looks, and decides."""

    queryset = Post.objects.all()
    serializer_class = UnsettledSerializer
    permissions: ClassVar[dict[str, str]] = {
        "list": "post_view",
        "retrieve": "post_view",
        "confirm": "post_approve",
        "send_again": "post_approve",
        "give_up": "post_approve",
    }
    commits_midway = frozenset({"confirm"})  # asking the platform may renew credentials

    def filter_queryset(self, queryset: Any) -> Any:
        return queryset.filter(state=PostState.NEEDS_HUMAN) if self.action == "list" else queryset

    @extend_schema(request=ReferenceSerializer)
    @action(detail=True, methods=["post"])
    def confirm(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """It is there: book it as published. The platform is asked where it can be."""
        self.get_object()  # a post that is not there is told before what is wrong with the reference
        data = ReferenceSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return self._decide(needs_human.confirm_published, reference=data.validated_data["reference"])

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="send-again")
    def send_again(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """It is not there: send it again."""
        return self._decide(needs_human.send_again)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="give-up")
    def give_up(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Leave it: it is never sent again."""
        return self._decide(needs_human.give_up)

    def _decide(self, verb: Any, **arguments: Any) -> Response:
        post_id = self.get_object().pk
        try:
            post = verb(post_id, **arguments)
        except IllegalTransition as error:
            raise Conflict(str(error)) from None
        return Response(self.get_serializer(post).data)
