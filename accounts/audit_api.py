"""The audit log over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request

from accounts import audit_log
from accounts.api import OrganizationViewSet
from accounts.audit_views import DOWNLOADS
from accounts.models import AuditEntry
from accounts.moments import MomentFilter
from accounts.pagination import NewestFirst
from accounts.streamed import Csv, Streamed, download


class JsonLines(Csv):
    media_type, format = "application/jsonl", "jsonl"


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    user = serializers.UUIDField(source="user_id", allow_null=True, help_text="The person, also behind a token.")
    before = serializers.DictField(help_text="What changed, as it was.")
    after = serializers.DictField(help_text="What changed, as it is since.")

    class Meta:
        model = AuditEntry
        fields = ("id", "at", "actor", "user", "address", "action", "object_type", "object_id", "before", "after")


class AuditFilter(filters.FilterSet):
    actor = filters.CharFilter(lookup_expr="icontains", help_text="A part of an address or of a token's name.")
    action = filters.CharFilter(method="of_action", help_text="Like `bot.change`, or `bot` for all about bots.")
    object_type = filters.CharFilter()
    object_id = filters.CharFilter()
    since = MomentFilter(field_name="at", lookup_expr="gte")
    until = MomentFilter(field_name="at", lookup_expr="lt")

    def of_action(self, queryset: QuerySet[AuditEntry], name: str, value: str) -> QuerySet[AuditEntry]:
        return queryset.filter(audit_log.of_action(value))


class NewestLineFirst(NewestFirst):
    ordering = ("-at", "-pk")


class AuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Who did what, newest first. Lines are only ever added; they outlive what they speak of."""

    queryset = AuditEntry.objects.all()
    serializer_class = AuditEntrySerializer
    filterset_class = AuditFilter
    pagination_class = NewestLineFirst
    permissions: ClassVar[dict[str, str]] = {"list": "audit_view", "retrieve": "audit_view", "export": "audit_view"}

    @extend_schema(
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, "Cells that a spreadsheet would compute are escaped."),
            (200, "application/jsonl"): OpenApiResponse(OpenApiTypes.STR, "A JSON object on each line."),
        }
    )
    @action(detail=False, pagination_class=None, renderer_classes=[Csv, JsonLines])
    def export(self, request: Request, *args: Any, **kwargs: Any) -> Streamed:
        """The lines that the filters leave as CSV or JSON Lines (`Accept`), oldest first."""
        kind = request.accepted_renderer.format
        write, media_type = DOWNLOADS[kind]
        found = self.filter_queryset(self.get_queryset())
        return download(write(found), f"{kwargs['slug']}-audit.{kind}", media_type)
