"""Rotation of keys: everything comes under the first key, nothing is lost, and what does not open is said."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.utils import timezone
from pytest_django import Settings

from accounts import rotation, vault
from accounts.rotation import rotate_keys
from accounts.tenancy import tenant
from faces.models import Authorization, Connection
from faces.oauth import fresh_secrets
from tests.factories import World, make_connection, make_world

OLD, NEW, LOST = bytes(32), bytes([1] * 32), bytes([2] * 32)


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def make_sealed(name: str, **secret: Any) -> Connection:
    made = make_connection("mastodon", name, settings={"instance": "https://example.social"})
    made.credentials = vault.seal(made, "credentials", {"access_token": f"canary-{name}"} | secret)
    made.save()
    return made


@pytest.fixture
def sealed(world: World, settings: Settings) -> list[Connection]:
    """Four connections of two organizations and an attempt, under the old key; the new one is first from now on."""
    settings.CREDENTIAL_KEYS = {"old": OLD}
    made = []
    for organization in (world.acme, world.globex):
        with tenant(organization.pk):
            made += [make_sealed(f"{organization.slug}-{number}") for number in range(2)]
            make_connection(name=f"Sandbox of {organization.slug}")
    with tenant(world.acme.pk):
        attempt = Authorization(
            kind="mastodon", name="Anew", user_id=world.alice.pk, expires_at=timezone.now() + timedelta(hours=1)
        )
        attempt.organization_id = world.acme.pk
        attempt.credentials = vault.seal(attempt, "credentials", {"state": "x", "given": {}, "keep": {}})
        attempt.save()
    settings.CREDENTIAL_KEYS = {"new": NEW, "old": OLD}
    return made


def envelopes() -> list[str]:
    # everyone: a test that looks at all organizations.
    rows = [*Connection.everyone.exclude(credentials=""), *Authorization.everyone.all()]
    return [row.credentials for row in rows]


def opened(made: Connection) -> Any:
    with tenant(made.organization_id):
        return Connection.objects.get(pk=made.pk).secrets["access_token"]


def test_everything_comes_under_the_first_key(sealed: list[Connection], settings: Settings) -> None:
    done = rotate_keys()
    assert (done.resealed, done.current, done.unopened) == (5, 0, [])
    assert all(map(vault.is_current, envelopes()))
    settings.CREDENTIAL_KEYS = {"new": NEW}
    assert [opened(made) for made in sealed] == [f"canary-{made.name}" for made in sealed]


def test_what_is_under_the_first_key_is_left_alone(sealed: list[Connection]) -> None:
    rotate_keys()
    before = sorted(envelopes())
    done = rotate_keys()
    assert (done.resealed, done.current, sorted(envelopes())) == (0, 5, before)


def test_one_that_was_broken_off_is_begun_again(sealed: list[Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = rotation._reseal, []

    def interrupted(*args: Any) -> None:
        calls.append(args)
        if len(calls) > 2:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(rotation, "_reseal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rotate_keys()
    assert sum(map(vault.is_current, envelopes())) == 2
    monkeypatch.setattr(rotation, "_reseal", real)
    done = rotate_keys()
    assert (done.resealed, done.current) == (3, 2)


def test_batches_cover_everything(sealed: list[Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)
    assert rotate_keys().resealed == 5


def test_a_value_under_a_lost_key_is_reported_and_left(
    sealed: list[Connection], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = sealed[0]
    settings.CREDENTIAL_KEYS = {"lost": LOST}
    with tenant(lost.organization_id):
        lost.credentials = vault.seal(lost, "credentials", {"access_token": "canary-lost"})
        lost.save()
    settings.CREDENTIAL_KEYS = {"new": NEW, "old": OLD}
    with pytest.raises(CommandError, match="1 could not be opened"):
        call_command("rotate_keys")
    said = capsys.readouterr()
    assert f"faces.Connection {lost.pk}: The key “lost”" in said.err
    assert "4 sealed anew" in said.out
    assert "canary" not in said.out + said.err
    assert lost.credentials in envelopes()


def test_the_command_says_when_old_keys_may_go(sealed: list[Connection], capsys: pytest.CaptureFixture[str]) -> None:
    call_command("rotate_keys")
    assert "No other key is needed any more." in capsys.readouterr().out


@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_renewed_meanwhile_is_not_lost(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer comes in the middle of a rotation's step: it waits for the row, and has the last word."""
    settings.CREDENTIAL_KEYS = {"old": OLD}
    world = make_world()
    with tenant(world.acme.pk):
        made = make_sealed("a", expires_at=timezone.now().isoformat(), access_token="stale")
    settings.CREDENTIAL_KEYS = {"new": NEW, "old": OLD}
    later = (timezone.now() + timedelta(hours=1)).isoformat()

    def renew() -> None:
        with tenant(world.acme.pk):
            fresh_secrets(made, lambda known: known | {"access_token": "fresh", "expires_at": later})
        database.close()

    writer, real = Thread(target=renew), vault.seal

    def seal(*args: Any) -> str:
        if writer.ident is None:
            writer.start()
            writer.join(timeout=0.5)  # without the row's lock it would be through by now
        return real(*args)

    monkeypatch.setattr(vault, "seal", seal)
    rotate_keys()
    writer.join()
    assert (opened(made), all(map(vault.is_current, envelopes()))) == ("fresh", True)


def test_every_column_that_holds_envelopes_is_registered() -> None:
    columns = {
        (model._meta.label, field.name)
        for model in apps.get_models()
        for field in model._meta.local_concrete_fields
        if "Sealed" in str(field.help_text)
    }
    assert set(vault.SEALED) == columns
