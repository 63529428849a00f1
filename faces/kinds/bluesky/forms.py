"""What connecting a Bluesky account asks for."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

MOST_LANGUAGES = 3
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class BlueskyForm(forms.Form):
    """Edits a connection; the app password is sealed, and the session that it opens beside it."""

    secret_fields = ("app_password",)
    host_field = "host"
    steps = (
        "The handle is the part after the @ on the account's profile.",
        (
            "Signed in there as that account: Settings → Privacy and security → App passwords → Add App Password. "
            "Leave access to direct messages off: Kilroy does not need it."
        ),
        "Copy the password that it shows, such as abcd-efgh-ijkl-mnop: it is shown once.",
    )

    identifier = forms.CharField(
        label="Handle", max_length=253, required=False, help_text="The account's handle, such as alice.bsky.social."
    )
    app_password = forms.CharField(
        max_length=200,
        required=False,
        widget=forms.PasswordInput,
        help_text="Not the account's own password.",
    )
    host = forms.CharField(
        label="Server",
        max_length=200,
        initial="https://bsky.social",
        help_text="Where the account was made; only accounts outside Bluesky's own servers have another one.",
    )
    languages = forms.CharField(
        max_length=40, required=False, help_text="Languages of the posts, at most three, such as en, de."
    )
    label_account = forms.BooleanField(
        label="Label the account as automated",
        required=False,
        initial=True,
        help_text="Kilroy puts the label “bot” on the profile. Unticked, Kilroy only checks that it is there.",
    )

    def clean_identifier(self) -> str:
        return str(self.cleaned_data["identifier"]).strip().removeprefix("@").lower()

    def clean_app_password(self) -> str:
        return str(self.cleaned_data["app_password"]).strip()

    def clean_host(self) -> str:
        return server_address(self.cleaned_data["host"])

    def clean_languages(self) -> str:
        named = [name for name in re.split(r"[\s,]+", self.cleaned_data["languages"]) if name]
        if len(named) > MOST_LANGUAGES or not all(_LANGUAGE.fullmatch(name) for name in named):
            raise ValidationError("Write at most three languages by their codes, such as en, de, pt-BR.")
        return ", ".join(named)


def server_address(text: str) -> str:
    """`https://host` of what a person typed. Raises ValidationError.

    Plain http is kept only for a host that the operator has opened (KILROY_OUTBOUND_ALLOW).
    """
    typed = text.strip().rstrip("/")
    try:
        parts = urlsplit(typed if "://" in typed else f"https://{typed}")
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if not host or parts.username or parts.path or parts.query or parts.scheme not in ("https", "http"):
        raise ValidationError("Write the server's name, such as bsky.social.")
    if parts.scheme == "http" and (host, port or 80) not in settings.OUTBOUND_ALLOW:
        raise ValidationError("The server must be reached by https.")
    return f"{parts.scheme}://{parts.netloc.lower()}"
