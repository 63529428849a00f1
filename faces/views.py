"""Pages of connections: which accounts there are, how they are, connecting and connecting again."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import OrganizationRequest, organization_page
from faces import authorizations, governor, services
from faces.contract import FaceError
from faces.models import Connection
from faces.registry import FACES

KEPT = "Leave empty to keep what is stored."
LABELS = {
    "set": "Kilroy marks every post as automated.",
    "checked": "The account must be marked as automated, or it counts as not ready.",
    "platform": "The platform itself shows that a bot posts.",
}
COUNTED = {"weighted": "weighted characters", "utf16": "UTF-16 units"}
READS = {
    "history": "its own posts",
    "accounts": "other accounts",
    "mentions": "mentions",
    "comments": "comments",
    "communities": "communities",
}


class LearningForm(forms.Form):
    """Whether models may learn from a connection, and by what permission."""

    may_learn = forms.BooleanField(required=False, label="Models may learn from this account")
    learn_permission = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        label="The permission you hold",
        help_text="Who gave it, when, and where it is written down.",
    )


class BudgetForm(forms.ModelForm):
    """What a connection's calls may cost."""

    class Meta:
        model = Connection
        fields = ("daily_budget",)
        labels: ClassVar[dict[str, str]] = {"daily_budget": "Budget per day, in US dollars"}


def connection_or_404(connection_id: UUID) -> Connection:
    """The connection of the active organization with this id."""
    connection = Connection.objects.filter(pk=connection_id).first()
    if connection is None:
        raise Http404
    return connection


def connection_form(kind: str, *args: Any, **kwargs: Any) -> forms.Form:
    """The face's own form, with the connection's name before it. What the platform's consent can bring may stay
    empty.
    """
    own = FACES[kind].load_form()
    named = type(
        "ConnectionForm", (own,), {"name": forms.CharField(max_length=120, help_text="What you call it here.")}
    )
    form: forms.Form = named(*args, **kwargs)
    form.order_fields(["name"])
    if not FACES[kind].flow:
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
    if request.method == "POST" and form.is_valid() and (answer := _connect(request, kind, form)):
        return answer
    context = {"form": form, "kind": FACES[kind], **guidance(kind)}
    return render(request, "faces/connection_new.html", context, status=400 if form.errors else 200)


def _connect(request: OrganizationRequest, kind: str, form: forms.Form) -> HttpResponse | None:
    """The next page, or None when the form has errors now."""
    values = dict(form.cleaned_data)
    name = values.pop("name")
    if authorizations.needs_flow(kind, values):
        return depart(request, kind, name, values, form)
    try:
        made = services.create_connection(kind, name, values)
    except ValidationError as error:
        add_errors(form, error)
        return None
    check_and_tell(request, made)
    return redirect("faces:connection", request.organization.slug, made.pk)


def depart(
    request: OrganizationRequest,
    kind: str,
    name: str,
    values: dict[str, Any],
    form: forms.Form,
    connection: Connection | None = None,
) -> HttpResponse | None:
    """The page with the link to the platform, or None when the form has errors now.

    A link and not a redirect: the content security policy lets no form lead to another host.
    """
    try:
        begun = authorizations.begin(kind, name, values, request.user.pk, connection)
    except ValidationError as error:
        add_errors(form, error)
        return None
    except FaceError as error:
        form.add_error(None, str(error))
        return None
    context = {"begun": begun, "label": FACES[kind].label, "connection": connection}
    return render(request, "faces/connection_depart.html", context)


def guidance(kind: str) -> dict[str, Any]:
    """Template context: the steps by which one gets what the form asks for, whether the platform's consent follows,
    and the redirect URL to register there.
    """
    return {
        "steps": getattr(FACES[kind].load_form(), "steps", ()),
        "callback": authorizations.callback_address(),
        "has_flow": bool(FACES[kind].flow),
        "token_fields": authorizations.token_fields(kind),
    }


@organization_page("connection_view")
def detail(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    connection = connection_or_404(connection_id)
    return show(request, connection, reconnect_form(connection, None))


@require_POST
@organization_page("connection_edit")
def change(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    """Connect again, with the values that were filled in."""
    connection = connection_or_404(connection_id)
    form = reconnect_form(connection, request.POST)
    if form.is_valid():
        try:
            connection = services.reconnect(connection.pk, filled_in(form))
        except ValidationError as error:
            add_errors(form, error)
        else:
            check_and_tell(request, connection)
            return redirect("faces:connection", request.organization.slug, connection.pk)
    return show(request, connection, form)


def show(
    request: OrganizationRequest,
    connection: Connection,
    form: forms.Form,
    learning: LearningForm | None = None,
    budget: forms.BaseForm | None = None,
) -> HttpResponse:
    """A connection's page, with a form as it was sent."""
    can_do = connection.capabilities
    known = {"may_learn": connection.may_learn, "learn_permission": connection.learn_permission}
    context = {
        "connection": connection,
        "form": form,
        "learning": learning or LearningForm(initial=known),
        "budget": budget or BudgetForm(instance=connection),
        "today": governor.today(connection),
        "kind": FACES[connection.kind],
        "can_do": can_do,
        "last_check": services.last_check(connection),
        "automation": LABELS[can_do.label],
        "counted_by": COUNTED.get(can_do.counts_by, can_do.counts_by),
        "reads": [words for name, words in READS.items() if name in can_do.reads],
        **guidance(connection.kind),
    }
    wrong = any(sent is not None and sent.errors for sent in (form, learning, budget))
    return render(request, "faces/connection_detail.html", context, status=400 if wrong else 200)


@require_POST
@organization_page("connection_edit")
def learning(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    """Allow or forbid that models learn from this account."""
    connection = connection_or_404(connection_id)
    form = LearningForm(request.POST)
    if form.is_valid():
        try:
            if form.cleaned_data["may_learn"]:
                services.allow_learning(connection.pk, form.cleaned_data["learn_permission"])
            else:
                services.forbid_learning(connection.pk)
        except ValidationError as error:
            add_errors(form, error)
        else:
            return redirect("faces:connection", request.organization.slug, connection.pk)
    return show(request, connection, reconnect_form(connection, None), form)


@require_POST
@organization_page("connection_edit")
def check(request: OrganizationRequest, connection_id: UUID) -> HttpResponse:
    connection = connection_or_404(connection_id)
    check_and_tell(request, connection)
    return redirect("faces:connection", request.organization.slug, connection.pk)


def check_and_tell(request: OrganizationRequest, connection: Connection) -> None:
    """Check a connection and tell in messages how it went; the list stands on its page."""
    spoke_as = connection.account
    try:
        found = services.check_connection(connection.pk)
    except FaceError as error:
        messages.error(request, str(error))
        return
    if spoke_as and found.account != spoke_as:
        messages.warning(request, f"This connection was {spoke_as} until now, and is {found.account} from now on.")
    if found.ok:
        messages.success(request, f"Connected as {found.account}.")
    else:
        messages.error(request, f"{found.account} is not ready yet: see what is missing.")


def reconnect_form(connection: Connection, data: Any) -> forms.Form:
    own = FACES[connection.kind].load_form()
    form = own(data, initial=connection.settings)
    for name in getattr(own, "secret_fields", ()):
        form.fields[name].required = False
        form.fields[name].help_text = f"{KEPT} {form.fields[name].help_text}"
    return form


def filled_in(form: forms.Form) -> dict[str, Any]:
    """What the person gave: a secret that was left empty keeps what is stored."""
    hidden = getattr(form, "secret_fields", ())
    return {name: value for name, value in form.cleaned_data.items() if value or name not in hidden}


def add_errors(form: forms.Form, error: ValidationError) -> None:
    fields = error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
    for name, found in fields.items():
        for message in found:
            form.add_error(name if name in form.fields else None, message)
