"""Rotation of keys: every sealed value comes under the keyring's first key, while everything else goes on.

Each value is its own short transaction on a locked row, so a writer waits for milliseconds and no value is lost; those
under the first key already are passed over, so that a rotation that was broken off is simply begun again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.db import transaction

from accounts import vault
from accounts.second_factor import PURPOSE, SECRETS
from accounts.tenancy import TenantModel, tenant

BATCH = 200


@dataclass
class Rotated:
    """What a rotation did: values sealed anew, values under the first key already, and in words those left as they
    were because they do not open.
    """

    resealed: int = 0
    current: int = 0
    unopened: list[str] = field(default_factory=list)


def rotate_keys(told: Callable[[str], None] = lambda words: None) -> Rotated:
    """Seal every registered value anew with the keyring's first key. `told` hears of each batch."""
    done = Rotated()
    for label, column in vault.SEALED:
        model: type[TenantModel] = apps.get_model(label)
        # everyone: keys belong to the installation; each row's tenant is entered below.
        done.current += model.everyone.filter(**{f"{column}__startswith": vault.current_prefix()}).count()
        for batch in _batches(model, column):
            for organization_id, pk in batch:
                with tenant(organization_id):
                    _reseal(model, column, pk, done)
            told(f"{label}: {done.resealed} sealed anew, {len(done.unopened)} left")
    for pk in Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN).values_list("pk", flat=True):
        _reseal_factor(pk, done)
    told(f"second factors: {done.resealed} sealed anew, {len(done.unopened)} left")
    return done


def _batches(model: type[TenantModel], column: str) -> Iterator[list[tuple[Any, Any]]]:
    """Organization and key of the rows that another key sealed, by ascending key."""
    # everyone: as above.
    others = model.everyone.exclude(**{column: ""}).exclude(**{f"{column}__startswith": vault.current_prefix()})
    rest = others.order_by("pk").values_list("organization_id", "pk")
    batch = list(rest[:BATCH])
    while batch:
        yield batch
        batch = list(rest.filter(pk__gt=batch[-1][1])[:BATCH])


@transaction.atomic
def _reseal(model: type[TenantModel], column: str, pk: Any, done: Rotated) -> None:
    row = model.objects.select_for_update(of=("self",)).filter(pk=pk).first()
    envelope = getattr(row, column, "")
    if vault.is_current(envelope):  # deleted, emptied or written anew since it was listed
        return
    assert row is not None
    try:
        sealed = vault.seal(row, column, vault.unseal(row, column, envelope))
    except vault.VaultError as error:
        done.unopened.append(f"{model._meta.label} {pk}: {error}")
        return
    model.objects.filter(pk=pk).update(**{column: sealed})
    done.resealed += 1


@transaction.atomic
def _reseal_factor(pk: int, done: Rotated) -> None:
    """The secret of an authenticator app, or the seed of recovery codes: a text within the row's JSON."""
    row = Authenticator.objects.select_for_update().filter(pk=pk).first()
    for name in SECRETS & set(row.data if row else ()):
        envelope = row.data[name]
        if vault.is_current(envelope):
            done.current += 1
            continue
        try:
            row.data[name] = vault.seal_text(PURPOSE, vault.unseal_text(PURPOSE, envelope))
        except vault.VaultError as error:
            done.unopened.append(f"second factor {pk}: {error}")
            continue
        row.save(update_fields=["data"])
        done.resealed += 1
