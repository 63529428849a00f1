"""The page of API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts import clock, tokens
from accounts.access import OrganizationRequest, organization_page
from accounts.models import ApiToken, Membership
from accounts.roles import PERMISSIONS

READ, ALL, CHOSEN = "read", "all", "chosen"
ABOUT = {
    "audit": "Audit log",
    "bot": "Bots",
    "connection": "Connections",
    "dataset": "Datasets",
    "generate": "Texts",
    "member": "Members",
    "model": "Models",
    "organization": "Organization",
    "post": "Posts",
    "run": "Training",
    "schedule": "Schedules",
    "token": "Tokens",  # nosec B105 # a word for people, and no secret
    "usage": "Usage",
    "webhook": "Webhooks",
}
"""First part of a permission's name → what it is about."""
LASTING = {"30": "30 days", "90": "90 days", "365": "1 year", "0": "until it is revoked"}


class TokenForm(forms.Form):
    name = forms.CharField(max_length=80, help_text="What it is for: you will want to know when you revoke it.")
    days = forms.ChoiceField(label="How long it lasts", choices=list(LASTING.items()), initial="90")
    access = forms.ChoiceField(
        label="What it may do",
        choices=[(READ, "Read only"), (ALL, "Everything my role may"), (CHOSEN, "Choose")],
        initial=READ,
        widget=forms.RadioSelect,
    )
    scopes = forms.MultipleChoiceField(
        label="Chosen permissions",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, membership: Membership, *args: Any) -> None:
        super().__init__(*args)
        self.allowed = sorted(PERMISSIONS[membership.role])
        choices = [(name, name.replace("_", " ")) for name in self.allowed]
        self.fields["scopes"].choices = choices  # type: ignore[attr-defined]

    def groups(self) -> list[tuple[str, list[tuple[str, str, bool]]]]:
        """The permissions by what they are about: (name, what one may do, ticked)."""
        ticked = self["scopes"].value() or []
        found: dict[str, list[tuple[str, str, bool]]] = {}
        for name in sorted(self.allowed, key=lambda name: (not name.endswith("_view"), name)):
            about, _, verb = name.partition("_")
            found.setdefault(ABOUT[about], []).append((name, verb or name, name in ticked))
        return sorted(found.items())

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("access") == CHOSEN and not given.get("scopes"):
            self.add_error("scopes", "Choose at least one permission.")
        return given

    def asked(self) -> dict[str, Any]:
        """What `create_token` takes."""
        given = self.cleaned_data
        reading = [name for name in self.allowed if name.endswith("_view")]
        scopes = {READ: reading, ALL: None, CHOSEN: given["scopes"]}[given["access"]]
        days = int(given["days"])
        return {"scopes": scopes, "expires_at": clock.now() + timedelta(days=days) if days else None}


@organization_page("token_manage")
def index(request: OrganizationRequest) -> HttpResponse:
    form = TokenForm(request.membership, *([request.POST] if request.method == "POST" else []))
    if request.method == "POST" and form.is_valid():
        token, secret = tokens.create_token(request.membership, form.cleaned_data["name"], **form.asked())
        return _index(request, TokenForm(request.membership), token, secret)
    return _index(request, form)


@require_POST
@organization_page("token_manage")
def rotate(request: OrganizationRequest, token_id: UUID) -> HttpResponse:
    try:
        token, secret = tokens.rotate_token(token_id, request.membership)
    except ApiToken.DoesNotExist:
        raise Http404 from None
    except (ValidationError, PermissionDenied) as error:
        messages.error(request, " ".join(error.messages) if isinstance(error, ValidationError) else str(error))
        return redirect("accounts:tokens", request.organization.slug)
    return _index(request, TokenForm(request.membership), token, secret)


@require_POST
@organization_page("token_manage")
def revoke(request: OrganizationRequest, token_id: UUID) -> HttpResponse:
    try:
        token = tokens.revoke_token(token_id)
    except ApiToken.DoesNotExist:
        raise Http404 from None
    messages.success(request, f"“{token.name}” opens nothing any more.")
    return redirect("accounts:tokens", request.organization.slug)


def _index(
    request: OrganizationRequest, form: TokenForm, made: ApiToken | None = None, secret: str = ""
) -> HttpResponse:  # nosec B107 # empty: none to show
    now = clock.now()
    living = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
    context = {
        "tab": "tokens",
        "form": form,
        "tokens": living.select_related("membership__user").order_by("-created_at", "-pk"),
        "made": made,
        "secret": secret,
    }
    page = render(request, "accounts/token_list.html", context, status=400 if form.errors else 200)
    if secret:
        page["Cache-Control"] = "no-store"
    return page
