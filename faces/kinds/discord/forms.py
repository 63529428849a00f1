"""What connecting a Discord bot asks for."""

from __future__ import annotations

import re

from django import forms
from django.core.exceptions import ValidationError

_CHANNEL = re.compile(r"(?:https://(?:\w+\.)?discord\.com/channels/\d+/)?(\d{1,20})(?:/\d+)?/?")
_TOKEN = re.compile(r"[\w.\-]{20,200}", re.ASCII)


def channel_id(text: str) -> str:
    """A channel's id of what a person typed: the id, or a link to the channel. Raises ValidationError."""
    found = _CHANNEL.fullmatch(text.strip())
    if found is None:
        raise ValidationError("Write the channel's id or its link: right-click the channel → Copy Link.")
    return found[1]


class DiscordForm(forms.Form):
    """Edits a connection; the token is sealed."""

    secret_fields = ("token",)
    steps = (
        "Open discord.com/developers/applications, choose New Application, and give it the bot's name.",
        "Under Bot: Reset Token, and copy the token. To read what others write, switch on Message Content Intent.",
        (
            "Under OAuth2 → URL Generator: tick bot, then View Channels, Send Messages, Read Message History and "
            "Attach Files; open the address it shows, and choose your server."
        ),
        "In Discord, right-click the channel the bot is to post to → Copy Link.",
    )

    token = forms.CharField(
        label="Bot token",
        max_length=200,
        required=False,
        widget=forms.PasswordInput,
        help_text="Shown once, by Reset Token in Discord's Developer Portal.",
    )
    channel = forms.CharField(
        max_length=200, required=False, help_text="Its id or its link: right-click the channel → Copy Link."
    )

    def clean_token(self) -> str:
        token = str(self.cleaned_data["token"]).strip().removeprefix("Bot ")
        if token and not _TOKEN.fullmatch(token):
            raise ValidationError("This is no bot token of Discord: copy it again.")
        return token

    def clean_channel(self) -> str:
        typed = self.cleaned_data["channel"]
        return channel_id(typed) if typed else ""
