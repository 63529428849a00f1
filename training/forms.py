"""Forms of the training pages. They read; services decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from bots.models import Bot
from training.imports.contract import ROLES
from training.imports.filters import FILTERS, Parameter
from training.models import Dataset, ModelVersion, Run
from training.settings_schema import ONLINE_PRESETS, PRESETS, SETTINGS, Preset


class DatasetForm(forms.Form):
    file = forms.FileField(
        help_text="A table or text (CSV, JSON, JSON Lines, one post a line), or an archive of X, Mastodon or Bluesky."
    )
    name = forms.CharField(max_length=120)
    source = forms.CharField(
        max_length=300, help_text="Where the posts come from, for example “my own account, exported in May”."
    )
    licence = forms.CharField(max_length=300, help_text="Under which licence or permission you may use them.")
    may_learn = forms.BooleanField(
        required=False,
        label="A model may learn from these posts",
        help_text="Without this the posts can be looked at, not trained on.",
    )


class ColumnsForm(forms.Form):
    """One choice per part that a column can play."""

    def __init__(self, found: list[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", "none"), *((name, name) for name in found)]
        for role in ROLES:
            self.fields[role] = forms.ChoiceField(choices=choices, required=False, label=role.replace("_", " "))


class FiltersForm(forms.Form):
    """What is to be left out: a box for every filter, and its parameters."""

    def __init__(self, chosen: Mapping[str, Mapping[str, Any]], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, entry in FILTERS.items():
            self.fields[name] = forms.BooleanField(
                required=False, initial=name in chosen, label=entry.label, help_text=entry.description
            )
            for key, parameter in entry.parameters.items():
                value = chosen.get(name, {}).get(key, parameter.default)
                self.fields[f"{name}-{key}"] = _parameter_field(parameter, value)

    def chosen(self) -> dict[str, dict[str, Any]]:
        """The filters with a tick and their parameters."""
        data = self.cleaned_data
        return {
            name: {key: _parameter_value(each, data[f"{name}-{key}"]) for key, each in entry.parameters.items()}
            for name, entry in FILTERS.items()
            if data[name]
        }

    def rows(self, reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Each filter with its fields and, where it is in use, what it drops."""
        drops = {report["name"]: report for report in reports}
        return [
            {
                "box": self[name],
                "parameters": [self[f"{name}-{key}"] for key in entry.parameters],
                "report": drops.get(name),
            }
            for name, entry in FILTERS.items()
        ]


def _parameter_field(parameter: Parameter, value: Any) -> forms.Field:
    if parameter.kind == "number":
        return forms.FloatField(
            required=False, initial=value, min_value=parameter.low, max_value=parameter.high, label=parameter.label
        )
    return forms.CharField(
        required=False, initial=", ".join(value), label=parameter.label, help_text="Separated by commas."
    )


def _parameter_value(parameter: Parameter, given: Any) -> Any:
    if parameter.kind == "number":
        return parameter.default if given is None else given
    return [word.strip() for word in given.split(",") if word.strip()]


def _preset_choices(presets: Mapping[str, Preset]) -> list[tuple[str, str]]:
    return [(name, f"{preset.label}: {preset.help}") for name, preset in presets.items() if name != "default"]


class RunForm(forms.Form):
    kind = forms.ChoiceField(choices=Run.Kind.choices, widget=forms.RadioSelect, initial=Run.Kind.OFFLINE)
    dataset = forms.ModelMultipleChoiceField(
        queryset=Dataset.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Datasets",
        help_text="For fine-tuning; one or several.",
    )
    weights = forms.CharField(
        required=False,
        label="Weights of the datasets",
        help_text="In their order, separated by commas; 2 shows each post twice as often as 1. Empty: all 1.",
    )
    mixing = forms.ChoiceField(
        choices=SETTINGS["mixing"].choices, label="Several datasets", help_text=SETTINGS["mixing"].help, required=False
    )
    version = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(),
        required=False,
        label="Model version",
        help_text="For online learning; empty: the current one.",
    )
    preset = forms.ChoiceField(
        choices=[
            ("default", "Default"),
            *((label, _preset_choices(PRESETS[kind])) for kind, label in Run.Kind.choices),
        ],
        required=False,
        help_text="What to start from; settings given below win.",
    )

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["dataset"].queryset = Dataset.objects.filter(bot=bot, state=Dataset.State.READY)  # type: ignore[attr-defined]
        self.fields["version"].queryset = ModelVersion.objects.filter(bot=bot)  # type: ignore[attr-defined]

    def config(self) -> dict[str, Any]:
        """The settings that these answers stand for."""
        data = self.cleaned_data
        if data["kind"] == Run.Kind.OFFLINE:
            return {"mixing": data["mixing"] or "as_is"}
        return dict(ONLINE_PRESETS[data["preset"] or "default"].config)

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError for a preset of the other kind of run, and for weights that are no numbers, or not as
        many as datasets.
        """
        data: dict[str, Any] = super().clean() or self.cleaned_data
        kind, preset = data.get("kind"), data.get("preset") or "default"
        if kind and preset not in PRESETS[kind]:
            self.add_error("preset", f"This preset is not for {Run.Kind(kind).label.lower()}.")
        datasets = list(data.get("dataset") or ())
        words = [word for word in data.get("weights", "").split(",") if word.strip()]
        try:
            weights = [float(word) for word in words] or [1.0] * len(datasets)
        except ValueError:
            weights = []
        if len(weights) != len(datasets):
            self.add_error("weights", f"Write {len(datasets)} numbers with commas between them, one for each dataset.")
        data["sources"] = dict(zip(datasets, weights, strict=False))
        return data
