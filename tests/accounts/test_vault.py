"""Secrets open for the row they were sealed for, and for nobody else."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from accounts import vault
from accounts.vault import VaultError
from bots.models import Bot
from faces.models import Connection

SECRET = {"access_token": "canary-7f3a"}
OLD, NEW = bytes(32), bytes([1] * 32)


@pytest.fixture(autouse=True)
def _keys(settings: Settings) -> None:
    settings.CREDENTIAL_KEYS = {"new": NEW, "old": OLD}


def row(pk: int = 1, organization: int = 7) -> Connection:
    return Connection(pk=f"00000000-0000-0000-0000-{pk:012}", organization_id=organization)


def test_a_secret_comes_back_and_is_not_in_its_envelope() -> None:
    envelope = vault.seal(row(), "credentials", SECRET)
    assert vault.unseal(row(), "credentials", envelope) == SECRET
    assert "canary" not in envelope
    assert envelope != vault.seal(row(), "credentials", SECRET)  # a nonce of its own each time


def test_an_empty_column_holds_no_secret() -> None:
    assert vault.unseal(row(), "credentials", "") == {}


@pytest.mark.parametrize(
    ("place", "column"),
    [
        (row(pk=2), "credentials"),
        (row(organization=8), "credentials"),
        (row(), "settings"),
        (Bot(pk=row().pk, organization_id=7), "credentials"),
    ],
    ids=["another row", "another organization", "another column", "another table"],
)
def test_an_envelope_opens_in_its_own_place_only(place: Connection | Bot, column: str) -> None:
    with pytest.raises(VaultError):
        vault.unseal(place, column, vault.seal(row(), "credentials", SECRET))


@pytest.mark.parametrize("harm", [lambda text: text[:-4], lambda text: text.replace("v1.", "v2."), lambda _: "canary"])
def test_a_damaged_envelope_raises_and_shows_nothing(harm: object) -> None:
    with pytest.raises(VaultError) as caught:
        vault.unseal(row(), "credentials", harm(vault.seal(row(), "credentials", SECRET)))  # type: ignore[operator]
    assert "canary" not in str(caught.value)


def test_every_key_opens_and_the_first_one_seals(settings: Settings) -> None:
    settings.CREDENTIAL_KEYS = {"old": OLD}
    envelope = vault.seal(row(), "credentials", SECRET)
    settings.CREDENTIAL_KEYS = {"new": NEW, "old": OLD}
    assert vault.unseal(row(), "credentials", envelope) == SECRET
    assert not vault.is_current(envelope)
    assert vault.is_current(vault.seal(row(), "credentials", SECRET))
    settings.CREDENTIAL_KEYS = {"new": NEW}
    with pytest.raises(VaultError, match="The key “old”"):
        vault.unseal(row(), "credentials", envelope)
