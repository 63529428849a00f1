"""The form of the reward studio: a formula by choices or by hand, and the age at which reactions count."""

from __future__ import annotations

from typing import Any

from django import forms

from bots import scoring
from bots.models import Bot
from bots.replay import Scheme
from bots.reward_builder import FIRST, PER, TOXICITY, Recipe, formula_of, recipe_of

BUILD, WRITE = "build", "write"
MODES = {BUILD: "By choices", WRITE: "By hand"}
LARGEST = 1e6


class RewardForm(forms.Form):
    """Bound, it gives a `Scheme`; the builder's fields count in the mode “build”, the formula in the mode “write”."""

    mode = forms.ChoiceField(choices=MODES.items(), widget=forms.RadioSelect, label="Make the formula")
    per = forms.ChoiceField(required=False, label="For each")
    logarithm = forms.BooleanField(
        required=False,
        label="Take the logarithm",
        help_text="So that one viral post does not outweigh everything else.",
    )
    low = forms.FloatField(
        required=False, min_value=-LARGEST, max_value=LARGEST, label="Never below", widget=forms.NumberInput
    )
    high = forms.FloatField(required=False, min_value=-LARGEST, max_value=LARGEST, label="Never above")
    toxicity = forms.ChoiceField(required=False, choices=TOXICITY.items(), label="Toxicity")
    formula = forms.CharField(
        required=False,
        max_length=300,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocapitalize": "off"}),
        help_text=f"{scoring.NAMES_HELP}; + - * / ** and {scoring.FUNCTIONS_HELP}.",
    )
    reward_age = forms.TypedChoiceField(coerce=int, label="Reactions count")
    rescore = forms.BooleanField(
        required=False,
        label="Make the rewards of these posts anew",
        help_text="Without this, rewards that were given stay as they are, and learning sees old and new ones side by "
        "side. Posts older than those that are replayed keep theirs either way.",
    )

    def __init__(self, bot: Bot, data: Any = None) -> None:
        self.metrics = [name for name in bot.connection.capabilities.metrics if _counts_reactions(name)]
        self.recipe = self._shown(recipe_of(bot.score_formula))
        super().__init__(data, initial=self._initial(bot))
        weights = {f"weight-{name}": _weight(name) for name in self.metrics}
        self.fields = {"mode": self.fields.pop("mode")} | weights | self.fields
        exposures = ("", "followers", "impressions", FIRST, *bot.connection.capabilities.metrics, self.initial["per"])
        self.fields["per"].choices = [(name, label) for name, label in PER.items() if name in exposures]  # type: ignore[attr-defined]
        ages = sorted({*bot.reading_ages, bot.reward_age})
        self.fields["reward_age"].choices = [(age, f"from an age of {age_words(age)}") for age in ages]  # type: ignore[attr-defined]

    def _initial(self, bot: Bot) -> dict[str, Any]:
        common = {"formula": bot.score_formula, "reward_age": bot.reward_age}
        if self.recipe is None:
            return common | {"mode": WRITE, "per": "followers", "logarithm": True, "toxicity": ""}
        return common | {"mode": BUILD} | self.filled(self.recipe)

    def _shown(self, recipe: Recipe | None) -> Recipe | None:
        """The recipe, if this form has a field for each of its weights."""
        return recipe if recipe and set(recipe.weights) <= set(self.metrics) else None

    def filled(self, recipe: Recipe) -> dict[str, Any]:
        """The builder's fields for a recipe."""
        weights = {f"weight-{name}": recipe.weights.get(name) for name in self.metrics}
        rest = {name: getattr(recipe, name) for name in ("per", "logarithm", "low", "high", "toxicity")}
        return {name: _plain(value) for name, value in (weights | rest).items()}

    @property
    def weights(self) -> list[forms.BoundField]:
        return [self[f"weight-{name}"] for name in self.metrics]

    def clean(self) -> dict[str, Any]:
        """Adds `scheme`. Errors of the builder as a whole stand above the form."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return data
        formula = data["formula"].strip()
        if data["mode"] == BUILD:
            try:
                formula = formula_of(self._recipe(data))
            except scoring.FormulaError as error:
                self.add_error(None, str(error))
                return data
        self.recipe = self._shown(recipe_of(formula))
        return data | {"scheme": Scheme(formula, data["reward_age"])}

    def _recipe(self, data: dict[str, Any]) -> Recipe:
        weights = {name: data[f"weight-{name}"] for name in self.metrics}
        return Recipe(
            {name: weight for name, weight in weights.items() if weight},
            data["per"],
            data["logarithm"],
            data["low"],
            data["high"],
            data["toxicity"],
        )


def _plain(value: Any) -> Any:
    """A whole number without its “.0”."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _counts_reactions(name: str) -> bool:
    return name not in scoring.EXPOSURES and not scoring.is_ratio(name)


def _weight(name: str) -> forms.FloatField:
    attributes = {"step": "any", "placeholder": "0"}
    return forms.FloatField(
        required=False,
        min_value=-LARGEST,
        max_value=LARGEST,
        label=name.replace("_", " "),
        widget=forms.NumberInput(attrs=attributes),
    )


def age_words(minutes: int) -> str:
    """90 → 90 minutes, 1440 → 24 hours, 10080 → 7 days."""
    for unit, size, least in (("day", 1440, 3), ("hour", 60, 2)):
        if minutes % size == 0 and minutes >= least * size:
            return f"{minutes // size} {unit}s"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"
