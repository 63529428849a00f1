"""Forms about people. Named in the settings, so that allauth draws them in place of its own."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import SignupForm
from allauth.core import context
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from accounts.adapter import open_invitation
from accounts.models import User


class AddPasskeyForm(AddWebAuthnForm):
    passwordless = forms.BooleanField(
        label="Sign in with it alone, without the password",
        initial=True,
        required=False,
        help_text="The device then asks for your finger, your face or its PIN.",
    )


class SignUpForm(SignupForm):
    """Name, address and password. Where only invited people may sign up, the address is the invitation's."""

    name = forms.CharField(max_length=120, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    field_order = ["name", "email", "password1"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = "E-mail address"
        invitation = open_invitation(context.request)
        if invitation is not None:
            self.fields["email"].initial = invitation.email

    def clean_email(self) -> str:
        email: str = super().clean_email()
        invitation = open_invitation(context.request)
        if settings.SIGN_UP == "invited" and (invitation is None or invitation.email.lower() != email):
            raise ValidationError("Use the address that your invitation was sent to.")
        return email

    def try_save(self, request: HttpRequest) -> Any:
        """The new person, or an answer that tells nothing where the address is taken, also just now by another
        request.
        """
        try:
            with transaction.atomic():
                return super().try_save(request)
        except IntegrityError:
            self.account_already_exists = True
            return super().try_save(request)

    def custom_signup(self, request: HttpRequest, user: User) -> None:
        user.name = self.cleaned_data["name"]
        user.save(update_fields=["name"])
