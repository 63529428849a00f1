"""What a person does to sign in, for tests."""

from __future__ import annotations

import re
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core import mail
from django.test import Client

from accounts.models import User
from tests.factories import PASSWORD

SIGN_IN = "/sign-in/"


def person_of(client: Client) -> str | None:
    """Who is signed in, by the session."""
    return client.session.get("_auth_user_id")


def sign_in(client: Client, email: str, password: str = PASSWORD, **fields: str) -> Any:
    return client.post(SIGN_IN, {"login": email, "password": password, **fields})


def links(message: mail.EmailMessage) -> list[str]:
    """Paths of the links in a mail to this installation."""
    return re.findall(r"http://127\.0\.0\.1:8000(/\S+)", str(message.body))


def add_authenticator_app(user: User) -> str:
    """Give a person an authenticator app. Returns its secret."""
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    return secret


def code_of(secret: str, later: int = 0) -> str:
    """What the app shows now, or that many periods later."""
    now = list(yield_hotp_counters_from_time())[1]
    return format_hotp_value(hotp_value(secret, now + later))


def stored(user: User) -> dict[str, Any]:
    """What the database holds of a person's second factors: type → data."""
    return dict(Authenticator.objects.filter(user=user).values_list("type", "data"))
