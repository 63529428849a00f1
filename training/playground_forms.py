"""Forms of the playground and the time machine. They read; services decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from bots.models import Bot
from training.configs import sampling
from training.models import Generation, ModelVersion
from training.services.generations import SCORES
from training.services.playground import MOST_VERSIONS
from training.settings_schema import SETTINGS

MOST_SHOWN = 8
"""Texts that one page shows of a request; the API gives more."""
OFFERED = 60
"""Versions that a form offers, the newest; older ones are reached from their own pages."""
DRAWING: dict[str, Any] = {
    "temperature": forms.FloatField,
    "top_k": forms.IntegerField,
    "top_p": forms.FloatField,
    "min_p": forms.FloatField,
    "repetition_penalty": forms.FloatField,
    "max_new_tokens": forms.IntegerField,
    "seed": forms.IntegerField,
}


class DrawingForm(forms.Form):
    """A prompt, and how to draw; what is left empty has its default."""

    prompt = forms.CharField(
        required=False,
        max_length=1000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="The words that each text begins with. Empty: the model begins by itself.",
    )
    count = forms.IntegerField(min_value=1, max_value=MOST_SHOWN, initial=2, label="Texts")
    scores = forms.BooleanField(
        required=False,
        initial=True,
        label="Let the critics judge",
        help_text="Expected reward, realism, closest training text. The texts are there sooner without.",
    )

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        usual = sampling({})
        for name, kind in DRAWING.items():
            words = SETTINGS[name]
            default = "a new one each time" if name == "seed" else getattr(usual, name)
            self.fields[name] = kind(
                required=False,
                min_value=words.low,
                max_value=words.high,
                label=words.label,
                help_text=f"{words.help} Empty: {default}.",
            )
            if kind is forms.FloatField:
                self.fields[name].widget.attrs["step"] = "any"

    def asked(self) -> dict[str, Any]:
        """What the services want to know: prompt, count, params."""
        data = self.cleaned_data
        params = {name: data[name] for name in DRAWING if data[name] is not None}
        if data[SCORES]:
            params[SCORES] = True
        return {"prompt": data["prompt"].replace("\r\n", "\n"), "count": data["count"], "params": params}

    def basic(self) -> list[forms.BoundField]:
        return [self["count"], self["temperature"], self["max_new_tokens"]]

    def further(self) -> list[forms.BoundField]:
        """What is folded away."""
        return [self[name] for name in ("top_k", "top_p", "min_p", "repetition_penalty", "seed")]


def _choices(bot: Bot, besides: Sequence[Any] = ()) -> list[tuple[Any, str]]:
    """The bot's versions, the speaking one first, then the newest; and those `besides` (ids) wherever they stand."""
    mine = ModelVersion.objects.filter(bot=bot).order_by("-is_current", "-number")
    offered = list(mine[:OFFERED])
    missing = set(besides) - {version.pk for version in offered}
    if missing:
        offered += mine.filter(pk__in=missing)
    return [(version.pk, named(version)) for version in offered]


class PlaygroundForm(DrawingForm):
    version = forms.ModelChoiceField(queryset=ModelVersion.objects.none(), required=False)

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any) -> None:
        super().__init__(bot, *args, **kwargs)
        chosen = kwargs.get("initial", {}).get("version")
        field: Any = self.fields["version"]
        field.queryset = ModelVersion.objects.filter(bot=bot)
        field.choices = _choices(bot, [chosen] if chosen else [])

    def basic(self) -> list[forms.BoundField]:
        return [self["version"], *super().basic()]


def named(version: ModelVersion) -> str:
    """A version in a list to choose from."""
    tags = f" ({', '.join(version.tags)})" if version.tags else ""
    return f"{version}{tags}, {'speaking now' if version.is_current else version.get_kind_display().lower()}"


class TimeMachineForm(DrawingForm):
    versions = forms.ModelMultipleChoiceField(
        queryset=ModelVersion.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text=f"2 to {MOST_VERSIONS} of them.",
    )

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any) -> None:
        super().__init__(bot, *args, **kwargs)
        self.fields["count"].initial = 1
        field: Any = self.fields["versions"]
        field.queryset = ModelVersion.objects.filter(bot=bot)
        field.choices = _choices(bot, kwargs.get("initial", {}).get("versions", ()))


class UploadForm(forms.Form):
    file = forms.FileField(
        label="Model", help_text="A zip of a model folder with safetensors, as a download from here makes it."
    )
    base = forms.CharField(
        max_length=200, required=False, label="What it comes from", help_text="The model that its lineage began with."
    )


def initial_of(generation: Generation) -> dict[str, Any]:
    """What was asked for, to ask for it again."""
    params = generation.params
    return {
        "prompt": generation.prompt,
        "count": min(generation.count, MOST_SHOWN),
        "version": generation.version_id,
        SCORES: bool(params.get(SCORES)),
        **{name: params[name] for name in DRAWING if name in params},
    }
