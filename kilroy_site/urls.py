"""Every address of the site."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from accounts.export_api import ImportViewSet
from accounts.organization_api import InvitationAcceptanceViewSet, OrganizationsViewSet

admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


def healthz(request: HttpRequest) -> HttpResponse:
    """Whether the web process answers: what the supervisor and load balancers ask."""
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("favicon.ico", RedirectView.as_view(url=static("img/kilroy.svg"), permanent=True)),
    path("", include("bots.operator.urls")),
    path("operator/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="api-schema"), name="api-docs"),
    path(
        "api/v1/organizations/",
        OrganizationsViewSet.as_view({"get": "list", "post": "create"}),
        name="api-organizations",
    ),
    path("api/v1/imports/", ImportViewSet.as_view({"post": "create"}), name="api-imports"),
    path("api/v1/organizations/<slug:slug>/", include("kilroy_site.api_urls")),
    path("api/v1/invitations/accept/", InvitationAcceptanceViewSet.as_view({"post": "accept"}), name="api-accept"),
    path("", include("accounts.sign_in_urls")),
    path("", include("accounts.urls")),
    path("", include("faces.urls")),
    path("", include("bots.urls")),
    path("", include("training.urls")),
]
handler400 = "accounts.problem_views.bad_request"
handler404 = "accounts.problem_views.not_found"
handler500 = "accounts.problem_views.server_error"
