"""Pages of exports: asked for, fetched, removed; and an exported organization coming in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.files.storage import default_storage
from django.core.validators import validate_slug
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts import audit, exporting, imports
from accounts.access import OrganizationRequest, client_address, organization_page
from accounts.exports import CHUNK, ImportRefused
from accounts.import_archive import PAGE
from accounts.models import Export, User
from accounts.streamed import download as streamed
from accounts.tenancy import tenant

SHOWN = 20
MEGABYTES = PAGE.packed // 10**6


@organization_page("organization_export")
def index(request: OrganizationRequest) -> HttpResponse:
    """The latest exports with their links, which nobody but owners sees; sent, one more."""
    if request.method == "POST":
        try:
            exporting.request_export()
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            messages.success(request, "The export is being made. You get a mail with its link, too.")
        return redirect("accounts:exports", request.organization.slug)
    exports = list(Export.objects.all()[:SHOWN])
    shown = [{"export": export, "link": exporting.link_of(export)} for export in exports]
    waiting = any(export.state in exporting.WAITING for export in exports)
    return render(request, "accounts/exports.html", {"tab": "exports", "made": shown, "waiting": waiting})


@require_POST
@organization_page("organization_export")
def delete(request: OrganizationRequest, export_id: UUID) -> HttpResponse:
    try:
        exporting.delete_export(export_id)
    except Export.DoesNotExist:
        raise Http404 from None
    messages.success(request, "Deleted. Its links no longer work.")
    return redirect("accounts:exports", request.organization.slug)


@require_GET
def download(request: HttpRequest, signed: str) -> HttpResponseBase:
    """An export, to whoever has its link."""
    export = exporting.export_of_link(signed)
    if export is None or not default_storage.exists(export.name):
        raise Http404
    who = audit.Actor("whoever has the link", None, client_address(request))
    with tenant(export.organization_id), audit.acting(who):
        audit.record("export.download", export, after={"size": export.size})
        name = f"{export.organization.slug}-{export.created_at:%Y-%m-%d}.zip"
    answer = streamed(_blocks(export.name), name, "application/zip", size=export.size)
    answer["Cache-Control"] = "private, no-store"
    return answer


def _blocks(name: str) -> Iterator[bytes]:
    with default_storage.open(name, "rb") as file:
        while block := file.read(CHUNK):
            yield block


class ImportForm(forms.Form):
    """An exported organization, and the address of the one that it becomes."""

    file = forms.FileField(
        label="Export",
        widget=forms.FileInput(attrs={"accept": ".zip,application/zip"}),
        help_text=f"The zip of an export, at most {MEGABYTES} MB. Operators import larger ones with "
        "manage.py import_organization.",
    )
    slug = forms.CharField(
        label="Address",
        max_length=60,
        required=False,
        validators=[validate_slug],
        help_text="What stands in its pages' addresses: small letters, digits and hyphens. Empty: made of its name.",
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > PAGE.packed:
            raise ValidationError(
                f"The file has {file.size / 1e6:.0f} MB, and at most {MEGABYTES} MB can be imported on this page. Ask "
                "whoever runs this installation to use manage.py import_organization."
            )
        return file


@login_required
def import_page(request: HttpRequest) -> HttpResponse:
    """Make an organization of an exported one, as its owner."""
    assert isinstance(request.user, User)  # login_required
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        who = audit.Actor(request.user.email, request.user, client_address(request))
        file, slug = form.cleaned_data["file"], form.cleaned_data["slug"]
        try:
            with audit.acting(who):
                arrived = imports.import_organization(file, request.user, slug=slug, limits=PAGE)
        except ImportRefused as refusal:
            form.add_error("file", str(refusal))
        else:
            return render(request, "accounts/imported.html", {"arrived": arrived})
    return render(request, "accounts/import.html", {"form": form}, status=400 if form.errors else 200)
