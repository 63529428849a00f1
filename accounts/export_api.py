"""Exports over the API, for owners."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import exporting, imports
from accounts.api import OrganizationViewSet
from accounts.exports import ImportRefused
from accounts.import_archive import PAGE
from accounts.models import Export
from accounts.organization_api import PersonViewSet


class ExportSerializer(serializers.ModelSerializer[Export]):
    download_url = serializers.SerializerMethodField(
        help_text="Downloads the zip without a token, for whoever has it, until `expires_at`; empty when there is none."
    )
    rows = serializers.DictField(child=serializers.IntegerField(), read_only=True, help_text="By kind of row.")

    class Meta:
        model = Export
        fields = (
            "id",
            "state",
            "requested_by",
            "size",
            "rows",
            "error",
            "created_at",
            "finished_at",
            "expires_at",
            "download_url",
        )
        read_only_fields = fields

    def get_download_url(self, export: Export) -> str:
        link = exporting.link_of(export)
        return f"{settings.PUBLIC_URL}{link}" if link else ""


class ExportViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, OrganizationViewSet):
    """Everything that the organization has, as a zip: rows as JSON Lines, files, and a manifest with their SHA-256
    (docs/exports.md). Credentials are never in it.
    """

    queryset = Export.objects.all()
    serializer_class = ExportSerializer
    permissions: ClassVar[dict[str, str]] = dict.fromkeys(
        ("list", "retrieve", "create", "destroy"), "organization_export"
    )

    @extend_schema(request=None, responses={201: ExportSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Ask for an export: one at a time, five a day. Its state tells when it is ready."""
        export = exporting.request_export()
        return Response(self.get_serializer(export).data, status=status.HTTP_201_CREATED)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Remove an export, or call it off. Its link ends at once."""
        exporting.delete_export(self.get_object().pk)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ImportSerializer(serializers.Serializer[Any]):
    file = serializers.FileField(help_text=f"The zip of an export, at most {PAGE.packed // 10**6} MB.")
    slug = serializers.SlugField(max_length=60, required=False, help_text="Else it is made of the organization's name.")


class StrangerSerializer(serializers.Serializer[Any]):
    email = serializers.CharField()
    role = serializers.CharField()


class ImportedSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    slug = serializers.CharField()
    rows = serializers.DictField(child=serializers.IntegerField(), help_text="By kind of row.")
    left_out = serializers.ListField(child=serializers.CharField(), help_text="Kinds of rows that are not imported.")
    members = StrangerSerializer(many=True, help_text="Who belonged to it and is no member here: to be invited.")


@extend_schema(tags=["exports"])
class ImportViewSet(PersonViewSet):
    """Exported organizations coming in."""

    parser_classes = (MultiPartParser,)
    serializer_class = ImportSerializer
    for_people = frozenset({"create"})

    @extend_schema(tags=["exports"], responses={201: ImportedSerializer})
    def create(self, request: Request) -> Response:
        """Make an organization of an exported one: all of it, or nothing. You own it, and nobody else is a member."""
        data = ImportSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        given = data.validated_data
        try:
            arrived = imports.import_organization(given["file"], self.person, slug=given.get("slug", ""), limits=PAGE)
        except ImportRefused as refusal:
            raise serializers.ValidationError({"file": str(refusal)}) from None
        told = {
            "name": arrived.organization.name,
            "slug": arrived.organization.slug,
            "rows": arrived.rows,
            "left_out": arrived.left_out,
            "members": [{"email": email, "role": role} for email, role in arrived.members],
        }
        return Response(told, status=status.HTTP_201_CREATED)
