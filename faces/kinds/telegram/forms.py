"""What connecting a Telegram bot asks for."""

from __future__ import annotations

import re

from django import forms
from django.core.exceptions import ValidationError

_CHAT = re.compile(r"(?:https://t\.me/|@)([A-Za-z]\w{3,31})/?|(-?\d{1,20})", re.ASCII)
_TOKEN = re.compile(r"\d{3,20}:[\w-]{20,100}", re.ASCII)


class TelegramForm(forms.Form):
    """Edits a connection; the token is sealed."""

    secret_fields = ("token",)
    steps = (
        "In Telegram, write /newbot to @BotFather and answer its questions: it shows the bot's token.",
        (
            "Open your channel → Administrators → Add Administrator, search the bot by its name, and leave it the "
            "rights to post and to delete messages."
        ),
        "For comments: add the bot as an administrator to the channel's discussion group too.",
        (
            "A public channel is known by its @name; a private one by its number, which the link of any message in it "
            "shows: t.me/c/1234567890/5 is -1001234567890."
        ),
    )

    token = forms.CharField(
        label="Bot token",
        max_length=150,
        required=False,
        widget=forms.PasswordInput,
        help_text="From @BotFather. The bot must serve this connection only.",
    )
    chat = forms.CharField(
        label="Channel or group",
        max_length=100,
        required=False,
        help_text="@name of a public one, or the number of a private one, such as -1001234567890.",
    )
    link_previews = forms.BooleanField(
        label="Show previews of links", initial=True, required=False, help_text="Below posts that hold a link."
    )

    def clean_token(self) -> str:
        token = str(self.cleaned_data["token"]).strip()
        if token and not _TOKEN.fullmatch(token):
            raise ValidationError("This is no token of a Telegram bot: copy it again from @BotFather.")
        return token

    def clean_chat(self) -> str:
        typed = str(self.cleaned_data["chat"]).strip()
        found = _CHAT.fullmatch(typed)
        if typed and found is None:
            raise ValidationError("Write the chat's @name, or its number, such as -1001234567890.")
        return (f"@{found[1]}" if found[1] else found[2]) if found else ""
