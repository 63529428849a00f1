"""The page of the audit log, and the log as a file."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpResponse, HttpResponseBadRequest, HttpResponseBase
from django.shortcuts import render

from accounts import audit_log
from accounts.access import OrganizationRequest, organization_page
from accounts.streamed import download

DOWNLOADS = {
    "csv": (audit_log.as_csv, "text/csv; charset=utf-8"),
    "jsonl": (audit_log.as_json_lines, "application/jsonl"),
}


class FilterForm(forms.Form):
    """What the log is narrowed to."""

    actor = forms.CharField(label="Who", max_length=200, required=False, help_text="A part of an address or a token.")
    action = forms.CharField(max_length=60, required=False, help_text="Like bot.change, or bot for all about bots.")
    about = forms.CharField(label="Object", max_length=40, required=False, help_text="Its kind, like post, or its id.")
    since = forms.DateField(
        label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}), help_text="Days are UTC."
    )
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))


@organization_page("audit_view")
def index(request: OrganizationRequest) -> HttpResponse:
    form = FilterForm(request.GET)
    asked = form.cleaned_data if form.is_valid() else {}
    try:
        cursor = audit_log.parsed_cursor(request.GET["page"]) if "page" in request.GET else None
    except ValidationError as error:
        return render(request, "accounts/audit.html", _context(form, asked) | {"problem": error.message}, status=400)
    page = audit_log.page(audit_log.entries(**asked), cursor)
    pages = audit_log.pages_of(page.rows, request.organization.slug)
    lines = [{"entry": line, "url": pages.get(line.pk), "changes": audit_log.changes(line)} for line in page.rows]
    context = _context(form, asked) | {
        "lines": lines,
        **page.urls({name: value for name, value in asked.items() if value}),
    }
    return render(request, "accounts/audit.html", context)


@organization_page("audit_view")
def export(request: OrganizationRequest) -> HttpResponseBase:
    """The lines that the filters leave, as a file."""
    form = FilterForm(request.GET)
    kind = request.GET.get("as", "csv")
    if not form.is_valid() or kind not in DOWNLOADS:
        return HttpResponseBadRequest(f"Choose one of: {', '.join(DOWNLOADS)}.", content_type="text/plain")
    write, media_type = DOWNLOADS[kind]
    found = audit_log.entries(**form.cleaned_data)
    return download(write(found), f"{request.organization.slug}-audit.{kind}", media_type)


def _context(form: FilterForm, asked: dict[str, Any]) -> dict[str, Any]:
    given = any(asked.values())
    return {"tab": "audit", "form": form, "filtered": given, "query": _query(asked)}


def _query(asked: dict[str, Any]) -> str:
    return urlencode({name: value for name, value in asked.items() if value})
