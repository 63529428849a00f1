"""Settings of a sandbox connection."""

from __future__ import annotations

from django import forms

HIGHEST_SEED = 2**31 - 1


class SandboxForm(forms.Form):
    """Edits `Connection.settings`. A world takes these when its first post appears and keeps them."""

    seed = forms.IntegerField(
        label="Seed",
        initial=1,
        min_value=0,
        max_value=HIGHEST_SEED,
        help_text="The same seed and the same posts meet the same luck. Any whole number will do.",
    )
    followers = forms.IntegerField(
        label="Followers at the start",
        initial=2000,
        min_value=1,
        max_value=10_000_000,
        help_text="How many simulated people follow the account before its first post. "
        "More followers give more reactions and leave less to chance.",
    )
    clock_speed = forms.FloatField(
        label="Simulated minutes per real minute",
        initial=1.0,
        min_value=1.0,
        max_value=100_000.0,
        help_text="1 is real time: half of a post's reactions come within 80 minutes. "
        "60 squeezes an hour into a minute, 1,440 a day.",
    )
