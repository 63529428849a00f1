"""The sandbox's page: the simulated platform as a feed."""

from __future__ import annotations

from uuid import UUID

from django.core.files.storage import default_storage
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from accounts import clock
from accounts.access import OrganizationRequest, organization_page
from faces.kinds.sandbox.face import SandboxFace
from faces.kinds.sandbox.models import SandboxPost, image_name
from faces.models import Connection

PAGE = 30


def _connection_or_404(connection_id: UUID) -> Connection:
    connection = Connection.objects.filter(pk=connection_id, kind="sandbox").first()
    if connection is None:
        raise Http404
    return connection


@organization_page("connection_view")
def feed(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    connection = _connection_or_404(connection_id)
    face = SandboxFace(connection)
    found = SandboxPost.objects.filter(connection=connection, deleted_at=None).order_by("-number")
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    readings = face.metrics([post.remote_id for post in page.object_list])
    posts = []
    for post in page.object_list:
        reading = readings[post.remote_id]
        posts.append(
            {
                "text": post.text,
                "at": post.published_at,
                "images": [
                    {
                        "url": reverse(
                            "faces:sandbox-image", args=[request.organization.slug, connection.pk, image["sha256"]]
                        ),
                        "alt_text": image["alt_text"],
                    }
                    for image in post.images
                ],
                **(dict(reading.metrics) if reading else {}),
            }
        )
    context = {
        "connection": connection,
        "posts": posts,
        "followers": round(face.followers()),
        "clock": clock.now(),
        "speed": face.clock_speed(),
        "previous_url": f"?page={page.previous_page_number()}" if page.has_previous() else "",
        "next_url": f"?page={page.next_page_number()}" if page.has_next() else "",
    }
    return render(request, "faces/sandbox_feed.html", context)


@organization_page("connection_view")
def image(request: OrganizationRequest, connection_id: UUID, sha256: str) -> HttpResponseBase:
    """An image as it was posted, to a connection of this organization."""
    connection = _connection_or_404(connection_id)
    for images in SandboxPost.objects.filter(connection=connection).exclude(images=[]).values_list("images", flat=True):
        for described in images:
            if described["sha256"] == sha256:
                file = default_storage.open(image_name(connection.pk, sha256))
                return FileResponse(
                    file, content_type=described["media_type"], headers={"X-Content-Type-Options": "nosniff"}
                )
    raise Http404
