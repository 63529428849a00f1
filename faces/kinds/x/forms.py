"""What connecting an X account asks for."""

from __future__ import annotations

from django import forms


class XForm(forms.Form):
    """Edits a connection. The tokens come from X's own page (`faces.kinds.x.flow`), never from a field."""

    secret_fields = ("client_secret",)
    steps = (
        "Sign in at https://console.x.com and create an app. X bills what Kilroy asks of it to this app's credits.",
        (
            "In the app's user authentication settings choose “Read and write” and the type “Web App, Automated App or "
            "Bot”, and enter the redirect URL below."
        ),
        "Under Keys and tokens → OAuth 2.0 copy the client ID and the client secret into the form.",
        "Press Continue, sign in on x.com as the account that the bot is to post from, and allow all that X lists.",
        "As that account, open Settings → Your account → Automation on x.com, set it up, and tick the box in the form.",
    )

    client_id = forms.CharField(max_length=200, required=False, label="Client ID", help_text="Of your developer app.")
    client_secret = forms.CharField(
        max_length=200,
        required=False,
        label="Client secret",
        widget=forms.PasswordInput,
        help_text="Empty for an app of the type “Native App” or “Single page App”.",
    )
    automated = forms.BooleanField(
        required=False,
        label="The account carries the label “Automated”",
        help_text="X wants it of every bot, but tells no program whether it is there: tick this once you have switched "
        "it on.",
    )
