"""Whether a person signs in with more than a password."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.apps import apps

from accounts.models import User

PAGE = "mfa_index"
"""The page where a person adds one (a name for `reverse`)."""
PURPOSE = "second factor"
"""What the secrets of authenticator apps and recovery codes are sealed for."""
SECRETS = {"secret", "seed"}
"""Where in an authenticator's data they stand."""


def has_second_factor(user: User) -> bool:
    """Whether the person has an authenticator app or a passkey. One query. Recovery codes alone do not count: they
    stand in for one that got lost.
    """
    return user.pk in having_second_factor({user.pk})


def having_second_factor(user_ids: Collection[UUID]) -> set[UUID]:
    """Which of these people have one. One query."""
    authenticators = apps.get_model("mfa", "Authenticator").objects
    return set(
        authenticators.filter(user_id__in=user_ids, type__in=["totp", "webauthn"]).values_list("user_id", flat=True)
    )
