"""What connecting a Reddit account asks for; the rest is allowed on Reddit's own page (`flow.py`)."""

from __future__ import annotations

import re

from django import forms

NAME = re.compile(r"[A-Za-z0-9_-]{2,24}")
"""Of a subreddit, an account, or an account's own profile (u_name)."""


class RedditForm(forms.Form):
    """Edits a connection; the app's keys are sealed."""

    secret_fields = ("client_id", "client_secret")
    steps = (
        "Sign in to Reddit as the account that the bot is to post from.",
        "Ask Reddit for permission to use its interface, if the account has none yet: support.reddithelp.com.",
        "At https://www.reddit.com/prefs/apps create an app of the type “web app”, with the redirect URL below.",
        "Copy the client ID (below the app's name) and the secret into the form.",
        "Press Continue and allow all that Reddit lists.",
    )

    client_id = forms.CharField(
        label="Client ID",
        max_length=100,
        required=False,
        help_text="Of an app of your own that Reddit has approved. It stands below the app's name.",
    )
    client_secret = forms.CharField(max_length=200, required=False, widget=forms.PasswordInput)
    subreddit = forms.CharField(
        max_length=40,
        required=False,
        help_text="Where the posts go, such as test for r/test; empty: the account's own profile.",
    )
    flair_id = forms.RegexField(
        r"^[0-9A-Za-z-]*$",
        label="Flair ID",
        max_length=36,
        required=False,
        help_text="Of the subreddit's flair for posts, where it demands one; its moderators know it.",
    )
    flair_text = forms.CharField(
        max_length=64, required=False, help_text="Where the flair's text may be chosen; otherwise empty."
    )
    user_agent = forms.RegexField(
        r"^[\x20-\x7e]*$",
        max_length=150,
        min_length=7,
        required=False,
        help_text="How Kilroy calls itself: platform:app:version (by /u/name). Empty: Kilroy's own.",
    )

    def clean_subreddit(self) -> str:
        typed = self.cleaned_data["subreddit"].strip().removeprefix("/").removeprefix("r/").rstrip("/")
        if typed.startswith("u/"):
            typed = "u_" + typed[2:]
        if typed and not NAME.fullmatch(typed):
            raise forms.ValidationError("Write the subreddit's name, such as test.")
        return typed
