"""What connecting a Mastodon account asks for."""

from __future__ import annotations

from django import forms

from faces.kinds.mastodon.instance import instance_address

VISIBILITIES = [("public", "Public"), ("unlisted", "Unlisted"), ("private", "Followers only")]


class MastodonForm(forms.Form):
    """Edits a connection; the token is sealed."""

    secret_fields = ("access_token",)

    instance = forms.CharField(
        max_length=200, initial="mastodon.social", help_text="Its name, such as mastodon.social."
    )
    access_token = forms.CharField(
        max_length=400,
        required=False,
        widget=forms.PasswordInput,
        help_text="On your instance: Preferences → Development → New application, with read, write:statuses and "
        "write:media; then “Your access token”.",
    )
    visibility = forms.ChoiceField(choices=VISIBILITIES, initial="public", required=False)
    language = forms.CharField(
        max_length=3, required=False, help_text="Two letters, such as en; empty: the account's own."
    )

    def clean_instance(self) -> str:
        return instance_address(self.cleaned_data["instance"])

    def clean_visibility(self) -> str:
        return self.cleaned_data["visibility"] or "public"
