"""Quotas and what is used of them, over the API."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import quotas
from accounts.api import OrganizationViewSet


class QuotaSerializer(serializers.Serializer[Any]):
    """One quota. `limit` null: not limited; `frees_at` null: there is room again once something has been deleted."""

    quota = serializers.CharField()
    title = serializers.CharField()
    used = serializers.FloatField()
    limit = serializers.FloatField(allow_null=True)
    frees_at = serializers.DateTimeField(allow_null=True)


class DaySerializer(serializers.Serializer[Any]):
    day = serializers.DateField(help_text="UTC.")
    amount = serializers.FloatField()


class SeriesSerializer(serializers.Serializer[Any]):
    quota = serializers.CharField()
    days = DaySerializer(many=True)


@extend_schema_serializer(many=False)
class UsageSerializer(serializers.Serializer[Any]):
    plan = serializers.CharField()
    quotas = QuotaSerializer(many=True)
    daily = SeriesSerializer(many=True, help_text="What was used on each of the last 30 days, the present one last.")


class UsageViewSet(OrganizationViewSet):
    permissions: ClassVar[dict[str, str]] = {"list": "usage_view"}
    serializer_class = UsageSerializer
    pagination_class = None
    filter_backends = ()

    @extend_schema(operation_id="usage_get")
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What the organization uses of its quotas, and used on each of the last days."""
        now = [
            {
                "quota": usage.quota.name,
                "title": usage.quota.label,
                "used": usage.used,
                "limit": usage.limit,
                "frees_at": usage.frees_at,
            }
            for usage in quotas.usage()
        ]
        daily = [
            {"quota": name, "days": [{"day": day, "amount": amount} for day, amount in days]}
            for name, days in quotas.series().items()
        ]
        told = {"plan": self.membership.organization.plan, "quotas": now, "daily": daily}
        return Response(UsageSerializer(told).data)
