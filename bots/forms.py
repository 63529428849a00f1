"""Forms of the bots' pages. They read; services decide."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts import clock
from bots import scoring
from bots.models import Bot, Schedule
from bots.services import posts
from faces.models import Connection
from faces.registry import FACES


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def one_newline(text: str) -> str:
    """A post as it was written: browsers send each of its line breaks as two characters."""
    return text.replace("\r\n", "\n").strip()


class BotForm(forms.Form):
    """A new bot; the sandbox connection is made along with it."""

    name = forms.CharField(max_length=120)
    connection = forms.ChoiceField(
        label="Where it speaks",
        help_text="The sandbox needs no account: its audience is simulated. Other accounts are connected first, "
        "under Connections.",
    )
    base_model = forms.CharField(
        max_length=200,
        initial="starter",
        help_text="“starter” is the small model that comes along; or a causal model of the hub (gpt2), or a folder.",
    )
    approval = forms.ChoiceField(choices=Bot.Approval.choices, initial=Bot.Approval.REVIEW, widget=forms.RadioSelect)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        new = [(f"new:{kind}", f"New: {face.label}") for kind, face in FACES.items() if face.needs_no_account]
        existing = [(str(connection.pk), connection.name) for connection in Connection.objects.all()]
        self.fields["connection"].choices = [*new, *existing]  # type: ignore[attr-defined]


class BotSettingsForm(forms.Form):
    name = forms.CharField(max_length=120)
    description = forms.CharField(required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 3}))
    approval = forms.ChoiceField(choices=Bot.Approval.choices, widget=forms.RadioSelect)
    score_formula = forms.CharField(
        max_length=300,
        help_text=f"What a reaction is worth: {scoring.NAMES_HELP}, + - * / ** and {scoring.FUNCTIONS_HELP}. "
        "Add penalty(toxicity) to make toxic posts cost; modifier(toxicity) is for scores that are never negative. "
        "first(impressions, followers) takes the first that the platform gives.",
    )
    posts_per_day = forms.IntegerField(
        required=False, min_value=1, help_text="At most this many posts a day; empty: no cap."
    )
    blocklist = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="One word or phrase per line. Posts with one of them are blocked.",
    )

    def clean_blocklist(self) -> list[str]:
        return _lines(self.cleaned_data["blocklist"])


class PostForm(forms.Form):
    text = forms.CharField(required=False, strip=False)
    image = forms.ImageField(required=False)
    alt_text = forms.CharField(required=False, max_length=1000)
    thread = forms.CharField(required=False, strip=False)
    when = forms.ChoiceField(
        required=False,
        choices=[("", "As the rules decide"), ("queue", "Next free slot"), ("at", "At a time"), ("now", "Now")],
    )
    at = forms.CharField(required=False, max_length=40)
    zone = forms.CharField(required=False, max_length=60)

    def clean_text(self) -> str:
        return one_newline(self.cleaned_data["text"])

    def clean_image(self) -> Any:
        file = self.cleaned_data["image"]
        if file and (file.size or 0) > posts.LARGEST_IMAGE:
            raise forms.ValidationError(posts.TOO_LARGE)
        return file

    @property
    def parts(self) -> list[str]:
        """The texts of the parts that follow, as many as were filled in."""
        texts: list[str] = self.data.getlist("thread") if self.is_bound else []  # type: ignore[attr-defined]
        return [one_newline(text) for text in texts if text.strip()]


class ScheduleForm(forms.Form):
    kind = forms.ChoiceField(choices=Schedule.Kind.choices, initial=Schedule.Kind.INTERVAL, widget=forms.RadioSelect)
    interval_seconds = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=31_536_000,
        label="Interval in seconds",
        help_text="3600 is once an hour.",
        widget=forms.NumberInput(attrs={"list": "intervals"}),
    )
    cron = forms.CharField(
        required=False,
        max_length=120,
        label="Cron expression",
        help_text="Minute, hour, day of month, month, day of week: “0 9 * * mon-fri”.",
    )
    timetable = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        label="The same as text",
        help_text="One per line, like “mon 09:00” or “fri 18:30”.",
    )
    zone = forms.CharField(
        max_length=60, initial="UTC", label="Time zone", widget=forms.TextInput(attrs={"list": "zones"})
    )
    misfire = forms.ChoiceField(
        choices=Schedule.Misfire.choices, initial=Schedule.Misfire.LATE, label="When a slot was missed"
    )
    misfire_minutes = forms.IntegerField(
        min_value=1, max_value=10_080, initial=60, label="At most this many minutes late"
    )
    jitter_minutes = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=720,
        initial=0,
        label="Jitter in minutes",
        help_text="Each slot is moved later by a random part of this; empty: on the dot.",
    )
    quiet_from = forms.TimeField(
        required=False,
        label="Quiet from",
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        help_text="Local time from which nothing is sent; may be later than the end: over midnight.",
    )
    quiet_until = forms.TimeField(
        required=False,
        label="Quiet until",
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        help_text="Local time from which posts are sent again.",
    )

    def clean_jitter_minutes(self) -> int:
        return self.cleaned_data["jitter_minutes"] or 0

    def clean_timetable(self) -> list[str]:
        return [line.lower() for line in _lines(self.cleaned_data["timetable"])]

    def clean_zone(self) -> str:
        zone: str = self.cleaned_data["zone"]
        if zone not in clock.zones():
            raise forms.ValidationError(f"“{zone}” is no time zone. Use a name like Europe/Warsaw or UTC.")
        return zone
