"""Sanctions over the API: what the operator imposed, and appeals against it."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import OrganizationViewSet
from bots.models import Report, Sanction
from bots.services import sanctions


class SanctionSerializer(serializers.ModelSerializer[Sanction]):
    class Meta:
        model = Sanction
        fields = (
            "id",
            "bot",
            "grade",
            "reason",
            "at",
            "until",
            "lifted_at",
            "appeal",
            "appeal_text",
            "appealed_by",
            "appealed_at",
            "appeal_answer",
            "appeal_decided_at",
        )
        read_only_fields = fields


class AppealSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=4000, help_text="Why it should be lifted.")


class ReportSerializer(serializers.Serializer[Any]):
    category = serializers.ChoiceField(choices=Report.Category.choices)
    text = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class SanctionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """What the operator of the installation imposed on the organization (`bot` null) or on one of its bots."""

    queryset = Sanction.objects.all()
    serializer_class = SanctionSerializer
    ordering = ("-at", "-pk")
    ordering_fields = ("at",)
    permissions: ClassVar[dict[str, str]] = {
        "list": "organization_view",
        "retrieve": "organization_view",
        "appeal": "organization_edit",
    }

    @extend_schema(request=AppealSerializer)
    @action(detail=True, methods=["post"])
    def appeal(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Ask the operator to look again, which can be done once."""
        sanction = self.get_object()
        data = AppealSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return Response(self.get_serializer(sanctions.appeal(sanction.pk, data.validated_data["text"])).data)
