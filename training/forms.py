"""Forms of the training pages. They read; services decide."""

from __future__ import annotations

from typing import Any

from django import forms

from bots.models import Bot
from training.imports.contract import ROLES
from training.models import Dataset, ModelVersion, Run


class DatasetForm(forms.Form):
    file = forms.FileField(help_text="CSV, JSON, JSON Lines, or plain text with one post a line.")
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


class RunForm(forms.Form):
    kind = forms.ChoiceField(choices=Run.Kind.choices, widget=forms.RadioSelect)
    dataset = forms.ModelChoiceField(queryset=Dataset.objects.none(), required=False, help_text="For fine-tuning.")
    version = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(),
        required=False,
        label="Model version",
        help_text="For online learning; empty: the current one.",
    )
    algorithm = forms.ChoiceField(
        choices=[
            ("reward_model_rloo", "Reward model in the loop (recommended)"),
            ("reinforce", "Plain REINFORCE, for comparison"),
        ],
        help_text="For online learning.",
    )
    max_epochs = forms.FloatField(
        min_value=0.01,
        max_value=1000,
        initial=3,
        label="Epochs",
        help_text="For fine-tuning; it stops early when the held-out loss no longer falls.",
    )
    learning_rate = forms.FloatField(required=False, min_value=0, max_value=1, help_text="Empty: the default.")

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["dataset"].queryset = Dataset.objects.filter(bot=bot, state=Dataset.State.READY)  # type: ignore[attr-defined]
        self.fields["version"].queryset = ModelVersion.objects.filter(bot=bot)  # type: ignore[attr-defined]

    def config(self) -> dict[str, Any]:
        """The engine's configuration that these answers mean."""
        data = self.cleaned_data
        config: dict[str, Any] = {}
        if data["learning_rate"] is not None:
            config["learning_rate"] = data["learning_rate"]
        if data["kind"] == Run.Kind.OFFLINE:
            return config | {"max_epochs": data["max_epochs"]}
        return config | {"algorithm": data["algorithm"]}
