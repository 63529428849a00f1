"""Every write about connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse

from accounts import audit, clock, vault
from accounts.models import AuditEntry
from accounts.notifications import settle, tell
from accounts.tenancy import active
from accounts.webhooks import emit
from faces.contract import FaceError, Verification
from faces.models import Connection
from faces.registry import FACES


def create_connection(kind: str, name: str, settings: dict[str, Any] | None = None) -> Connection:
    """Connect an account with what its face's form asks for; fields that the form calls secret are sealed.

    Raises ValidationError for an unknown face, bad settings, or a name that is taken. Asks the platform nothing:
    `check_connection` does.
    """
    return store_connection(kind, name, *split_secrets(kind, checked_settings(kind, settings or {})))


@transaction.atomic
def store_connection(kind: str, name: str, public: dict[str, Any], secret: dict[str, Any]) -> Connection:
    """Keep a new connection with checked settings, and credentials to seal. Raises ValidationError when the name is
    taken.
    """
    check_name(name)
    connection = Connection(kind=kind, name=name, settings=public, organization_id=active())
    connection.credentials = vault.seal(connection, "credentials", secret) if secret else ""
    connection.may_learn = connection.capabilities.may_learn
    connection.save()
    audit.record("connection.create", connection, after={"kind": kind, "name": name, "settings": connection.settings})
    return connection


def check_name(name: str) -> None:
    """Raises ValidationError when another connection has this name."""
    if Connection.objects.filter(name=name).exists():
        raise ValidationError({"name": f"There is a connection “{name}” already: choose another name."})


def check_connection(connection_id: UUID | str) -> Verification:
    """Ask the platform whether everything is in place, and book what it said. Raises FaceError when it cannot be asked
    or does not take the credentials; only the latter breaks the connection.
    """
    asked: Connection = Connection.objects.get(pk=connection_id)
    try:
        found = asked.face.verify()
    except FaceError as error:
        if error.credentials:
            mark_broken(asked, str(error))
            Connection.objects.filter(pk=asked.pk).update(checked_at=clock.now())  # also when it was broken before
        raise
    _book_check(asked, found)
    return found


@transaction.atomic
def _book_check(asked: Connection, found: Verification) -> None:
    connection = Connection.locked(asked.pk)  # its settings may have changed while the platform was asked
    before = (connection.account, connection.state, connection.problem)
    connection.account = found.account[:300]
    connection.settings = connection.settings | dict(found.settings)
    connection.state = Connection.State.CONNECTED if found.ok else Connection.State.BROKEN
    connection.problem = " ".join(found.missing)[:500]
    connection.checked_at = clock.now()
    connection.save(update_fields=["account", "settings", "state", "problem", "checked_at"])
    changed = before != (connection.account, connection.state, connection.problem)
    if changed or audit.actor().user is not None:  # else a daily check that found what it found the day before
        told = {"account": connection.account, "ok": found.ok}
        lists = {"present": list(found.present), "missing": list(found.missing)}
        known = {"account": before[0], "ok": before[1] == Connection.State.CONNECTED}
        audit.record("connection.check", connection, before=known, after=told | lists)
    if before[0] and before[1] == Connection.State.CONNECTED and not found.ok:
        _tell_broken(connection, f"{connection.name} needs its owner", "this is mended")
    elif found.ok and before[1] == Connection.State.BROKEN:
        settle("connection.broken", _subject(connection))


def last_check(connection: Connection) -> Mapping[str, Any]:
    """What the last check found: `account`, `ok`, and in words what is `present` and `missing`; {} before the first."""
    entries = AuditEntry.objects.filter(action="connection.check", object_id=str(connection.pk))
    latest = entries.order_by("-at", "-id").first() if connection.checked_at else None
    return latest.after if latest else {}


def mark_broken(connection: Connection, problem: str) -> None:
    """Note that the platform does not take the credentials: its bots wait, its owners are told once."""
    changed = Connection.objects.filter(pk=connection.pk, state=Connection.State.CONNECTED).update(
        state=Connection.State.BROKEN, problem=problem[:500], checked_at=clock.now()
    )
    if not changed:
        return
    before, after = {"state": Connection.State.CONNECTED}, {"state": Connection.State.BROKEN, "problem": problem[:500]}
    audit.record("connection.broken", connection, before=before, after=after)
    connection.problem = problem[:500]
    _tell_broken(connection, f"{connection.name} must be connected again", "somebody has entered new credentials")


def _tell_broken(connection: Connection, title: str, until: str) -> None:
    emit("connection.broken", {"connection": str(connection.pk), "kind": connection.kind, "state": "broken"})
    path = reverse("faces:connection", args=[connection.organization.slug, connection.pk])
    text = f"{connection.problem[:350]} The posts of its bots wait until {until}. Nothing is lost."
    tell("connection.broken", title, path, text, subject=_subject(connection))


def _subject(connection: Connection) -> str:
    return f"connection {connection.pk}"


@transaction.atomic
def reconnect(connection_id: UUID | str, settings: dict[str, Any]) -> Connection:
    """Give a connection new settings and credentials; its posts, scores and history stay. Fields left out keep what
    they were. Raises ValidationError.
    """
    connection = Connection.locked(connection_id)
    public, secret = merged_settings(connection, settings)
    known = _known_secrets(connection)
    kept = all(known.get(name, "") == value for name, value in secret.items())
    # A token that a person enters stands alone: what came with another one (its expiry, its refresh) goes with it.
    return renew_connection(connection.pk, public, known if kept else secret)


@transaction.atomic
def renew_connection(connection_id: UUID | str, public: dict[str, Any], secret: dict[str, Any]) -> Connection:
    """Give a connection checked settings, and credentials to seal; it counts as connected until it is checked."""
    connection = Connection.locked(connection_id)
    before = {"settings": connection.settings, "state": connection.state}
    connection.settings = {**connection.settings, **public}
    connection.credentials = vault.seal(connection, "credentials", secret) if secret else ""
    connection.state, connection.problem = Connection.State.CONNECTED, ""
    connection.save()
    after = {"settings": connection.settings, "state": connection.state}
    audit.record("connection.reconnect", connection, before=before, after=after)
    settle("connection.broken", _subject(connection))
    return connection


def merged_settings(connection: Connection, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a connection would have with these settings over its own: (settings, credentials). Raises ValidationError,
    also when stored credentials would be sent to another host than the one they were entered for.
    """
    known = _form_values(connection.kind, {**connection.settings, **_known_secrets(connection)})
    public, secret = split_secrets(connection.kind, checked_settings(connection.kind, {**known, **settings}))
    host = getattr(FACES[connection.kind].load_form(), "host_field", "")
    moved = host and host in connection.settings and public[host] != connection.settings[host]
    if moved and any(value and value == known.get(name) for name, value in secret.items()):
        raise ValidationError({"settings": f"{public[host]} is another host: enter the credentials for it too."})
    return public, secret


def _known_secrets(connection: Connection) -> dict[str, Any]:
    """The stored credentials; {} when they do not open, which entering new ones is to mend."""
    try:
        return connection.secrets
    except FaceError:
        return {}


@transaction.atomic
def allow_learning(connection_id: UUID | str, permission: str = "") -> Connection:
    """Let models learn from what is read of this account. Raises ValidationError where the platform's terms ask for a
    permission and none is recorded.
    """
    connection = Connection.locked(connection_id)
    permission = permission.strip()[:500]
    if not connection.capabilities.may_learn and not permission:
        message = f"The terms of {connection.label} ask for a permission to learn: write down the one that you hold."
        raise ValidationError({"learn_permission": message})
    return _set_learning(connection, True, permission)


@transaction.atomic
def forbid_learning(connection_id: UUID | str) -> Connection:
    """From now on no model learns from this account. The recorded permission stays on record."""
    connection = Connection.locked(connection_id)
    return _set_learning(connection, False, connection.learn_permission)


def _set_learning(connection: Connection, may_learn: bool, permission: str) -> Connection:
    before = {"may_learn": connection.may_learn, "learn_permission": connection.learn_permission}
    connection.may_learn, connection.learn_permission = may_learn, permission
    connection.save(update_fields=["may_learn", "learn_permission"])
    after = {"may_learn": may_learn, "learn_permission": permission}
    audit.record("connection.learning", connection, before=before, after=after)
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
