"""Reports of posts: the public page for anybody, and the form on a post's own page."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts import throttles
from accounts.access import OrganizationRequest, client_address, organization_page
from bots.models import Post
from bots.report_forms import MemberReportForm, PublicReportForm
from bots.services import reports
from bots.views import add_errors

REPORTS_A_MINUTE = 5


@dataclass(frozen=True)
class ReportLimit(throttles.Limit):
    """How many reports one address on the internet may send in a minute."""

    @property
    def most(self) -> int:
        return REPORTS_A_MINUTE


@require_http_methods(["GET", "HEAD", "POST"])
def report(request: HttpRequest) -> HttpResponse:
    """Anybody reports a post by its public link. Whether it is one of this installation's is not told."""
    form = PublicReportForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "bots/report.html", {"form": form}, status=400 if form.errors else 200)
    try:
        throttles.count(ReportLimit("report", client_address(request) or "no address"))
        reports.report_address(**form.cleaned_data)
    except throttles.Throttled as error:
        page = render(request, "bots/report.html", {"form": form, "wait": error.wait}, status=429)
        page["Retry-After"] = str(error.wait)
        return page
    except ValidationError as error:
        add_errors(form, error)
        return render(request, "bots/report.html", {"form": form}, status=400)
    return render(request, "bots/report.html", {"thanks": True})


@require_POST
@organization_page("post_view")
def report_post(request: OrganizationRequest, bot_id: UUID, post_id: UUID) -> HttpResponse:
    """A member reports a post of their own organization to the operator."""
    if not Post.objects.filter(pk=post_id, bot=bot_id).exists():
        raise Http404
    form = MemberReportForm(request.POST)
    if form.is_valid():
        reports.report_post(post_id, **form.cleaned_data)
        messages.success(request, "Thank you: the operator of this installation will look at it.")
    else:
        messages.error(request, "Choose what is wrong with the post.")
    return redirect("bots:post-detail", request.organization.slug, bot_id, post_id)
