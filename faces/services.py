"""Every write about connections."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from faces.models import Connection
from faces.registry import FACES


@transaction.atomic
def create_connection(kind: str, name: str, settings: dict[str, Any] | None = None) -> Connection:
    """Connect an account. Raises ValidationError for an unknown face, bad settings, or a name that is taken."""
    connection = Connection(kind=kind, name=name, settings=checked_settings(kind, settings or {}))
    connection.may_learn = connection.capabilities.may_learn
    if Connection.objects.filter(name=name).exists():
        raise ValidationError({"name": f"There is a connection “{name}” already: choose another name."})
    connection.save()
    audit.record("connection.create", connection, after={"kind": kind, "name": name, "settings": connection.settings})
    return connection


def checked_settings(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as the face's own form cleans them. Raises ValidationError."""
    if kind not in FACES:
        raise ValidationError({"kind": f"There is no face “{kind}”. Known are: {', '.join(sorted(FACES))}."})
    form_class = FACES[kind].load_form()
    defaults = {name: field.initial for name, field in form_class.base_fields.items() if field.initial is not None}
    unknown = sorted(set(settings) - set(form_class.base_fields))
    if unknown:
        raise ValidationError(
            {"settings": f"Unknown setting “{unknown[0]}”. Known are: {', '.join(form_class.base_fields)}."}
        )
    form = form_class({**defaults, **settings})
    if not form.is_valid():
        raise ValidationError(
            {"settings": [f"{name}: {message}" for name, errors in form.errors.items() for message in errors]}
        )
    return dict(form.cleaned_data)
