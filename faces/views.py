"""Pages of connections: which accounts there are, how they are, connecting and connecting again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from faces.contract import FaceError
from faces.models import Connection
from faces.registry import FACES
from faces.services import check_connection, create_connection, reconnect

KEPT = "Leave empty to keep what is stored."


def connection_or_404(connection_id: UUID) -> Connection:
    """The connection of the active organization with this id."""
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection is None:
        raise Http404
    return connection


def connection_form(kind: str, *args: Any, **kwargs: Any) -> forms.Form:
    """The face's own form, with the connection's name before it."""
    own = FACES[kind].load_form()
    named = type(
        "ConnectionForm", (own,), {"name": forms.CharField(max_length=120, help_text="What you call it here.")}
    )
    form: forms.Form = named(*args, **kwargs)
    form.order_fields(["name"])
    for secret in getattr(own, "secret_fields", ()):
        form.fields[secret].required = True
    return form


@organization_page("connection_view")
def index(request: OrganizationRequest) -> HttpResponse:
    kinds = [{"name": name, "kind": kind} for name, kind in FACES.items()]
    return render(request, "faces/connection_list.html", {"connections": Connection.objects.all(), "kinds": kinds})


@organization_page("connection_edit")
def new(request: OrganizationRequest, kind: str) -> HttpResponse:
    if kind not in FACES:
        raise Http404
    form = connection_form(kind, request.POST or None, initial={"name": FACES[kind].label})
    if request.method == "POST" and form.is_valid():
        values = dict(form.cleaned_data)
        try:
            made = create_connection(kind, values.pop("name"), values)
        except ValidationError as error:
            _add_errors(form, error)
        else:
            _check(request, made)
            return redirect("faces:connection", request.organization.slug, made.pk)
    context = {"form": form, "kind": FACES[kind]}
    return render(request, "faces/connection_new.html", context, status=400 if form.errors else 200)


@organization_page("connection_view")
def detail(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    connection = connection_or_404(connection_id)
    return _detail(request, connection, _reconnect_form(connection, None))


@require_POST
@organization_page("connection_edit")
def change(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    """Connect again, with the values that were filled in."""
    connection = connection_or_404(connection_id)
    form = _reconnect_form(connection, request.POST)
    if form.is_valid():
        try:
            connection = reconnect(connection.pk, _filled_in(form))
        except ValidationError as error:
            _add_errors(form, error)
        else:
            _check(request, connection)
            return redirect("faces:connection", request.organization.slug, connection.pk)
    return _detail(request, connection, form)


def _detail(request: OrganizationRequest, connection: Connection, form: forms.Form) -> HttpResponse:
    context = {"connection": connection, "form": form, "kind": FACES[connection.kind]}
    context["can_do"] = connection.capabilities
    return render(request, "faces/connection_detail.html", context, status=400 if form.errors else 200)


@require_POST
@organization_page("connection_edit")
def check(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    connection = connection_or_404(connection_id)
    _check(request, connection)
    return redirect("faces:connection", request.organization.slug, connection.pk)


def _check(request: OrganizationRequest, connection: Connection) -> None:
    try:
        found = check_connection(connection.pk)
    except FaceError as error:
        messages.error(request, str(error))
        return
    if found.ok:
        messages.success(request, f"Connected as {found.account}.")
    for missing in found.missing:
        messages.error(request, missing)


def _reconnect_form(connection: Connection, data: Any) -> forms.Form:
    own = FACES[connection.kind].load_form()
    form = own(data, initial=connection.settings)
    for name in getattr(own, "secret_fields", ()):
        form.fields[name].required = False
        form.fields[name].help_text = f"{KEPT} {form.fields[name].help_text}"
    return form


def _filled_in(form: forms.Form) -> dict[str, Any]:
    """What the person gave: a secret that was left empty keeps what is stored."""
    hidden = getattr(form, "secret_fields", ())
    return {name: value for name, value in form.cleaned_data.items() if value or name not in hidden}


def _add_errors(form: forms.Form, error: ValidationError) -> None:
    fields = error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
    for name, found in fields.items():
        for message in found:
            form.add_error(name if name in form.fields else None, message)
