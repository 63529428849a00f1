"""Rules of the installation in the operator's panel: a field for every setting, shown where its kind has it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms.models import ModelFormMetaclass
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from bots.models import SiteRule
from bots.moderation.site import KINDS, SETTINGS, SettingsError, checked
from bots.services import site_rules

WHOLE = ("most", "longest_shared_run")


def _field(name: str) -> forms.Field:
    setting = SETTINGS[name]
    told: dict[str, Any] = {"label": setting.label, "help_text": setting.help, "required": False}
    if setting.is_list:
        return forms.CharField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}), **told)
    if name in WHOLE:
        return forms.IntegerField(widget=UnfoldAdminIntegerFieldWidget, **told)
    return forms.FloatField(widget=UnfoldAdminDecimalFieldWidget, **told)


_Settings: Any = ModelFormMetaclass("_Settings", (forms.ModelForm,), {name: _field(name) for name in SETTINGS})


class SiteRuleForm(_Settings):
    """A rule, its settings as fields of their own. Lists are written one entry a line."""

    kind = forms.ChoiceField(
        choices=[(name, label) for name, (label, *_) in KINDS.items()], widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = SiteRule
        fields = ("name", "kind", "outcome", "severity", "message", "active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, value in (self.instance.settings or {}).items():
            self.initial[name] = "\n".join(map(str, value)) if isinstance(value, list) else value

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        kind = data.get("kind")
        if kind in KINDS:
            _, needed, optional = KINDS[kind]
            given = {name: _value(name, data.get(name)) for name in (*needed, *optional)}
            try:
                self.instance.settings = checked(kind, {n: v for n, v in given.items() if v not in (None, [])})
            except SettingsError as error:
                for name, words in error.errors.items():
                    self.add_error(name, words)
        return data


def _value(name: str, given: Any) -> Any:
    if SETTINGS[name].is_list:
        return [line.strip() for line in (given or "").splitlines() if line.strip()]
    return given


def _shown_for(setting: str) -> str:
    """When a setting's field is shown, in the words of the panel's scripts."""
    kinds = [kind for kind, (_, needed, optional) in KINDS.items() if setting in (*needed, *optional)]
    return " || ".join(f"kind == '{kind}'" for kind in kinds)


class SiteRuleAdmin(ModelAdmin):
    form = SiteRuleForm
    list_display = ("name", "kind_label", "outcome", "severity", "hits", "active")
    list_before_template = "operator/rules_head.html"
    fields = ("name", "kind", *SETTINGS, "outcome", "severity", "message", "active")
    conditional_fields = {setting: _shown_for(setting) for setting in SETTINGS}

    def get_queryset(self, request: HttpRequest) -> QuerySet[SiteRule]:
        self._counts = site_rules.hit_counts()
        return super().get_queryset(request)

    @admin.display(description="kind")
    def kind_label(self, rule: SiteRule) -> str:
        return KINDS[rule.kind][0]

    @admin.display(description="hits in 30 days")
    def hits(self, rule: SiteRule) -> int:
        return self._counts.get(rule.name_of_verdicts, 0)

    def save_model(self, request: HttpRequest, obj: SiteRule, form: Any, change: bool) -> None:
        site_rules.keep(obj)
