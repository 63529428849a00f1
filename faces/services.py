"""Every write about connections."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, clock, vault
from accounts.services import tell_owners
from accounts.tenancy import active
from faces.contract import FaceError, Verification
from faces.models import Connection
from faces.registry import FACES


@transaction.atomic
def create_connection(kind: str, name: str, settings: dict[str, Any] | None = None) -> Connection:
    """Connect an account with what its face's form asks for; fields that the form calls secret are sealed.

    Raises ValidationError for an unknown face, bad settings, or a name that is taken. Asks the platform nothing:
    `check_connection` does.
    """
    public, secret = split_secrets(kind, checked_settings(kind, settings or {}))
    connection = Connection(kind=kind, name=name, settings=public, organization_id=active())
    connection.credentials = vault.seal(connection, "credentials", secret) if secret else ""
    connection.may_learn = connection.capabilities.may_learn
    if Connection.objects.filter(name=name).exists():
        raise ValidationError({"name": f"There is a connection “{name}” already: choose another name."})
    connection.save()
    audit.record("connection.create", connection, after={"kind": kind, "name": name, "settings": connection.settings})
    return connection


def check_connection(connection_id: UUID | str) -> Verification:
    """Ask the platform whether everything is in place, and book what it said. Raises FaceError when it cannot be asked
    or does not take the credentials; only the latter breaks the connection.
    """
    connection: Connection = Connection.objects.get(pk=connection_id)
    try:
        found = connection.face.verify()
    except FaceError as error:
        if error.credentials:
            mark_broken(connection, str(error))
        raise
    problem = " ".join(found.missing)[:500]
    Connection.objects.filter(pk=connection.pk).update(
        account=found.account[:300],
        settings=connection.settings | dict(found.settings),
        state=Connection.State.CONNECTED if found.ok else Connection.State.BROKEN,
        problem=problem,
        checked_at=clock.now(),
    )
    audit.record("connection.check", connection, after={"account": found.account, "ok": found.ok, "missing": problem})
    return found


def mark_broken(connection: Connection, problem: str) -> None:
    """Note that the platform does not take the credentials: its bots wait, its owners are told once."""
    changed = Connection.objects.filter(pk=connection.pk, state=Connection.State.CONNECTED).update(
        state=Connection.State.BROKEN, problem=problem[:500], checked_at=clock.now()
    )
    if not changed:
        return
    audit.record("connection.broken", connection, after={"problem": problem[:500]})
    tell_owners(
        connection.organization_id,
        f"{connection.name} must be connected again",
        f"{problem}\n\nThe posts of its bots wait until somebody has entered new credentials. Nothing is lost.",
    )


@transaction.atomic
def reconnect(connection_id: UUID | str, settings: dict[str, Any]) -> Connection:
    """Give a connection new settings and credentials; its posts, scores and history stay. Fields left out keep what
    they were. Raises ValidationError.
    """
    connection = Connection.locked(connection_id)
    before = {**connection.settings, **connection.secrets}
    public, secret = split_secrets(
        connection.kind, checked_settings(connection.kind, {**_form_values(connection.kind, before), **settings})
    )
    old = connection.settings
    connection.settings = {**connection.settings, **public}
    connection.credentials = vault.seal(connection, "credentials", {**connection.secrets, **secret}) if secret else ""
    connection.state, connection.problem = Connection.State.CONNECTED, ""
    connection.save()
    audit.record("connection.reconnect", connection, before={"settings": old}, after={"settings": connection.settings})
    return connection


def _form_values(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    known = FACES[kind].load_form().base_fields
    return {name: value for name, value in values.items() if name in known}


def split_secrets(kind: str, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cleaned values as (settings, credentials): the face's form names its secret fields."""
    hidden = getattr(FACES[kind].load_form(), "secret_fields", ())
    return (
        {name: value for name, value in values.items() if name not in hidden},
        {name: value for name, value in values.items() if name in hidden},
    )


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
