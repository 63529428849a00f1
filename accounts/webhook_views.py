"""Pages of webhooks: which there are, making one, and what each was sent."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import webhooks
from accounts.access import OrganizationRequest, organization_page
from accounts.models import Webhook, WebhookDelivery
from accounts.webhook_events import EVENTS

PER_PAGE = 30
TONES = {"pending": "queued", "delivered": "ok", "failed": "failed"}
"""A delivery's state → the colour of its pill."""


class WebhookForm(forms.Form):
    """Where to send, and of what to tell."""

    url = forms.CharField(
        label="Address",
        max_length=500,
        widget=forms.URLInput(attrs={"placeholder": "https://example.org/kilroy"}),
        help_text="Where your receiver listens. It must begin with https:// and be reachable from the internet.",
    )
    description = forms.CharField(max_length=200, required=False, help_text="What it is for, in your words.")
    events = forms.MultipleChoiceField(
        choices=[(name, f"{name} – {event.description}") for name, event in EVENTS.items()],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one event."},
    )


def webhook_or_404(webhook_id: UUID) -> Webhook:
    """The webhook of the active organization with this id."""
    webhook: Webhook | None = Webhook.objects.filter(pk=webhook_id).first()
    if webhook is None:
        raise Http404
    return webhook


@organization_page("webhook_manage")
def index(request: OrganizationRequest) -> HttpResponse:
    return render(request, "accounts/webhook_list.html", {"tab": "webhooks", "webhooks": Webhook.objects.all()})


@organization_page("webhook_manage")
def new(request: OrganizationRequest) -> HttpResponse:
    """The form of a new webhook; sent, the page of what it made, with the secret, this once."""
    form = WebhookForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            webhook, secret = webhooks.create_webhook(**form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return show(request, webhook, secret=secret)
    wrong = request.method == "POST"
    return render(request, "accounts/webhook_new.html", {"tab": "webhooks", "form": form}, status=400 if wrong else 200)


@organization_page("webhook_manage")
def detail(request: OrganizationRequest, webhook_id: UUID) -> HttpResponse:
    return show(request, webhook_or_404(webhook_id))


def show(
    request: OrganizationRequest, webhook: Webhook, form: WebhookForm | None = None, secret: str = ""
) -> HttpResponse:  # nosec B107 # empty: none to show
    """A webhook's page with its deliveries; with a secret that was just made, or with a form as it was sent."""
    page = Paginator(WebhookDelivery.objects.filter(webhook=webhook), PER_PAGE).get_page(request.GET.get("page"))
    for row in page:
        row.tone = TONES[row.state]
        row.json = json.dumps(row.payload, ensure_ascii=False, indent=2)
    known = {name: getattr(webhook, name) for name in ("url", "description", "events")}
    context: dict[str, Any] = {
        "tab": "webhooks",
        "webhook": webhook,
        "secret": secret,
        "form": form or WebhookForm(initial=known),
        "deliveries": page,
        "previous_url": f"?page={page.previous_page_number()}" if page.has_previous() else "",
        "next_url": f"?page={page.next_page_number()}" if page.has_next() else "",
    }
    wrong = form is not None and form.errors
    answer = render(request, "accounts/webhook_detail.html", context, status=400 if wrong else 200)
    if secret:
        answer["Cache-Control"] = "no-store"
    return answer


@require_POST
@organization_page("webhook_manage")
def change(request: OrganizationRequest, webhook_id: UUID) -> HttpResponse:
    webhook, form = webhook_or_404(webhook_id), WebhookForm(request.POST)
    if form.is_valid():
        try:
            webhooks.change_webhook(webhook.pk, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, "Saved.")
            return _back(request, webhook.pk)
    return show(request, webhook, form)


@require_POST
@organization_page("webhook_manage")
def switch(request: OrganizationRequest, webhook_id: UUID) -> HttpResponse:
    """Switch a webhook off or on."""
    webhook = webhooks.change_webhook(webhook_or_404(webhook_id).pk, active=request.POST.get("active") == "1")
    said = "It is told of events again." if webhook.active else "It is told of nothing until it is switched on again."
    messages.success(request, said)
    return _back(request, webhook.pk)


@require_POST
@organization_page("webhook_manage")
def delete(request: OrganizationRequest, webhook_id: UUID) -> HttpResponse:
    webhooks.delete_webhook(webhook_or_404(webhook_id).pk)
    messages.success(request, "The webhook is deleted.")
    return redirect("accounts:webhooks", request.organization.slug)


@require_POST
@organization_page("webhook_manage")
def rotate(request: OrganizationRequest, webhook_id: UUID) -> HttpResponse:
    """Replace the secret, and show the new one, this once."""
    webhook, secret = webhooks.rotate_secret(webhook_or_404(webhook_id).pk)
    return show(request, webhook, secret=secret)


@require_POST
@organization_page("webhook_manage")
def test(request: OrganizationRequest, webhook_id: UUID) -> HttpResponse:
    webhook = webhook_or_404(webhook_id)
    try:
        webhooks.send_test(webhook.pk)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "A test message is on its way: reload in a moment to see whether it arrived.")
    return _back(request, webhook.pk)


@require_POST
@organization_page("webhook_manage")
def redeliver(request: OrganizationRequest, delivery_id: UUID) -> HttpResponse:
    row: WebhookDelivery | None = WebhookDelivery.objects.filter(pk=delivery_id).first()
    if row is None:
        raise Http404
    try:
        webhooks.redeliver(row.pk)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "The message is on its way again, under the same id.")
    return _back(request, row.webhook_id)


def _back(request: OrganizationRequest, webhook_id: UUID) -> HttpResponse:
    return redirect("accounts:webhook", request.organization.slug, webhook_id)
