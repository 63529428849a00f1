"""How Kilroy wants allauth to behave: who may sign up, what mails say, how secrets are kept."""

from __future__ import annotations

import logging
from smtplib import SMTPException
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest
from django.utils.functional import Promise

from accounts import clock, vault
from accounts.access import client_address
from accounts.models import Invitation, User
from accounts.second_factor import PURPOSE
from accounts.throttling import forget_attempts

log = logging.getLogger(__name__)


def open_invitation(request: HttpRequest) -> Invitation | None:
    """The invitation whose link this browser opened, while it can be accepted."""
    key = request.session.get("invitation")
    if key is None:
        return None
    # everyone: whoever holds an invitation is in no organization yet.
    waiting = Invitation.everyone.filter(accepted_at=None, revoked_at=None, expires_at__gt=clock.now())
    return waiting.filter(pk=key).first()


class AccountAdapter(DefaultAccountAdapter):
    error_messages: dict[str, str | Promise] = {
        **DefaultAccountAdapter.error_messages,
        "account_inactive": "This account is switched off. Ask the operator of this installation.",
        "email_password_mismatch": "This address and password do not belong together. Passwords mind upper and lower "
        "case.",  # nosec B105 # words for people
        "too_many_login_attempts": "Too many attempts failed. Wait 15 minutes, then try again, or set a new password.",
        "incorrect_code": "This code is not right, or it was used already. Wait for the next one and type it again.",
        "rate_limited": "That was too often in a short time. Wait a few minutes, then try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.SIGN_UP == "open" or open_invitation(request) is not None

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address by which attempts are counted. Raises PermissionDenied where it is not known: attempts that
        cannot be counted are not made.
        """
        address = client_address(request)
        if address is None:
            raise PermissionDenied("It is not known where this request comes from: set KILROY_TRUSTED_PROXIES.")
        return address

    def set_password(self, user: User, password: str) -> None:
        """Set a password; attempts at the old one keep nobody out any more."""
        super().set_password(user, password)
        forget_attempts(user)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail whose links lead to the installation's own address, whatever host the request named. A mail that
        cannot be sent is logged and said: asking for it again is all that helps.
        """
        rooted = {name: at_home(value) if name.endswith("_url") else value for name, value in context.items()}
        try:
            super().send_mail(template_prefix, email, {**rooted, "home": settings.PUBLIC_URL})
        except (SMTPException, OSError):
            log.exception("A mail (%s) could not be sent.", template_prefix)
            messages.error(self.request, "The mail could not be sent. Try again later, or tell the operator.")


def at_home(url: str) -> str:
    """The same page at the installation's own address."""
    return settings.PUBLIC_URL + urlsplit(url)._replace(scheme="", netloc="").geturl()


class FactorAdapter(DefaultMFAAdapter):
    """Second factors; their secrets lie in envelopes, which `rotate_keys` seals anew."""

    error_messages: dict[str, str | Promise] = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": AccountAdapter.error_messages["incorrect_code"],
        "unverified_email": "Verify your e-mail addresses first, or remove those that you do not use.",
    }

    def encrypt(self, text: str) -> str:
        return vault.seal_text(PURPOSE, text)

    def decrypt(self, encrypted_text: str) -> str:
        """Raises ValidationError, and never returns what does not open."""
        try:
            return vault.unseal_text(PURPOSE, encrypted_text)
        except vault.VaultError:
            log.exception("The secret of a second factor does not open.")
            raise ValidationError(
                "No code can be checked: the key of its secret is missing. Use a passkey, or ask the operator."
            ) from None

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": "Kilroy"}


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """People who come from the OpenID Connect provider of the settings."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        invitation = open_invitation(request)
        known = {address.email.lower() for address in sociallogin.email_addresses if address.verified}
        return settings.SIGN_UP == "open" or (invitation is not None and invitation.email.lower() in known)

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        user: User = super().populate_user(request, sociallogin, data)
        user.name = str(data.get("name") or "")[: User._meta.get_field("name").max_length]
        return user
