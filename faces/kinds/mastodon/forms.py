"""What connecting a Mastodon account asks for."""

from __future__ import annotations

from django import forms

from faces.kinds.mastodon.instance import instance_address

VISIBILITIES = [("public", "Public"), ("unlisted", "Unlisted"), ("private", "Followers only")]


class MastodonForm(forms.Form):
    """Edits a connection; the token is sealed. Without one, the instance asks the account's owner."""

    secret_fields = ("access_token",)
    token_fields = ("access_token",)
    host_field = "instance"
    steps = (
        (
            "The instance is the part of the account's address after its last @: of @you@mastodon.social it is "
            "mastodon.social."
        ),
        (
            "Leave the token empty and press Continue: your instance asks you to sign in and to allow Kilroy. There is "
            "nothing to register."
        ),
        (
            "Where that is not possible, make a token by hand: on your instance open Preferences → Development → New "
            "application, with the redirect URL below, and tick read, write:statuses and write:media. Save, open the "
            "application, and copy “Your access token” into the form."
        ),
        "Mark the account as automated: Preferences → Public profile → “This is an automated account”.",
    )

    instance = forms.CharField(
        max_length=200, initial="mastodon.social", help_text="Its name, such as mastodon.social."
    )
    access_token = forms.CharField(
        max_length=400,
        required=False,
        widget=forms.PasswordInput,
        help_text="Only needed to connect by hand.",
    )
    visibility = forms.ChoiceField(choices=VISIBILITIES, initial="public", required=False)
    language = forms.CharField(
        max_length=3, required=False, help_text="Two letters, such as en; empty: the account's own."
    )

    def clean_instance(self) -> str:
        return instance_address(self.cleaned_data["instance"])

    def clean_visibility(self) -> str:
        return self.cleaned_data["visibility"] or "public"
