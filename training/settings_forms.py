"""Forms made from the settings' one description: to start a run with, and to change one that lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.forms import BoundField

from training.configs import OnlineRunConfig
from training.engine.types import FinetuneConfig
from training.models import Run
from training.settings_schema import LARGEST, Described, described, shown

KINDS: dict[str, type] = {Run.Kind.OFFLINE: FinetuneConfig, Run.Kind.ONLINE: OnlineRunConfig}
FIELDS: dict[type, Any] = {int: forms.IntegerField, float: forms.FloatField}


class SettingsForm(forms.Form):
    """A field for each setting that has one; an empty field leaves the setting as it is."""

    def __init__(self, settings: Sequence[Described], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = {each.name: each for each in settings if _has_field(each)}
        for each in self._settings.values():
            self.fields[each.name] = _field(each)

    def changes(self) -> dict[str, Any]:
        """What was filled in, by name."""
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}

    def basic(self) -> list[BoundField]:
        """The fields that everybody sees."""
        return [self[name] for name, each in self._settings.items() if each.setting.basic]

    def groups(self) -> list[tuple[str, list[BoundField]]]:
        """The other fields by group, to be folded away."""
        found: dict[str, list[BoundField]] = {}
        for name, each in self._settings.items():
            if not each.setting.basic:
                found.setdefault(each.setting.group, []).append(self[name])
        return list(found.items())


def start_form(kind: str, data: Any = None) -> SettingsForm:
    """Every setting of a kind of run; empty ones take the preset's value or the default."""
    return SettingsForm(described(KINDS[kind]), data, prefix=kind)


def change_form(run: Run, data: Any = None) -> SettingsForm:
    """The settings of a living run that may be changed, as they are."""
    return SettingsForm(
        [each for each in described(KINDS[run.kind]) if each.setting.live], data, initial=run.config, prefix="change"
    )


def settings_of(run: Run) -> list[tuple[str, str]]:
    """A run's settings by label, as its page lists them; those it does not name have their default."""
    values: Mapping[str, Any] = run.config
    return [
        (each.setting.label, with_unit(each, values[each.name]))
        for each in described(KINDS[run.kind])
        if each.name in values and values[each.name] not in ({}, "")
    ]


def with_unit(each: Described, value: Any) -> str:
    """A setting's value in words, as pages show it."""
    words = dict(each.setting.choices).get(value) if isinstance(value, str) else None
    return words or f"{shown(value)} {each.setting.unit}".strip()


def _has_field(each: Described) -> bool:
    return each.type in (bool, int, float, str) and each.name != "mixing"  # that one stands beside the datasets


def _field(each: Described) -> forms.Field:
    setting = each.setting
    words: dict[str, Any] = {"required": False, "label": setting.label, "help_text": _help(each)}
    if each.type is bool:
        choices = [("", "as it is"), ("true", "yes"), ("false", "no")]
        return forms.TypedChoiceField(choices=choices, coerce=lambda text: text == "true", empty_value=None, **words)
    if setting.choices:
        return forms.ChoiceField(choices=[("", "as it is"), *setting.choices], **words)
    if each.type is str:
        return forms.CharField(max_length=500, **words)
    low, high = (None if abs(bound) == LARGEST else bound for bound in (setting.low, setting.high))
    field: forms.Field = FIELDS[each.type](min_value=low, max_value=high, **words)
    return field


def _help(each: Described) -> str:
    default = dict(each.setting.choices).get(each.default) or shown(each.default)
    usual = f"Default: {default}{' ' + each.setting.unit if each.setting.unit else ''}." if default else ""
    return f"{each.setting.help} {usual}".strip()
