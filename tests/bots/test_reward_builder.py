"""The builder and the formula language say the same."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.reward_builder import FIRST, Recipe, formula_of, recipe_of
from bots.scoring import FormulaError, evaluate

numbers = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda number: abs(number) > 1e-9)
weights = st.dictionaries(st.sampled_from(["likes", "comments", "shares", "quotes"]), numbers, min_size=1)
limits = st.tuples(st.none() | numbers, st.none() | numbers).filter(
    lambda pair: None in pair or pair[0] < pair[1]  # type: ignore[operator]
)
recipes = st.builds(
    lambda weights, per, logarithm, limits, toxicity: Recipe(weights, per, logarithm, *limits, toxicity),
    weights,
    st.sampled_from(["", "followers", "impressions", "members", FIRST]),
    st.booleans(),
    limits,
    st.sampled_from(["", "penalty", "modifier"]),
)


@given(recipes)
def test_what_is_written_is_read_back(recipe: Recipe) -> None:
    assert recipe_of(formula_of(recipe)) == recipe


@pytest.mark.parametrize(
    ("recipe", "formula"),
    [
        (Recipe({"likes": 1}, "followers"), "log1p(likes) - log(followers)"),
        (Recipe({"likes": 1, "comments": 2}, logarithm=False), "likes + 2 * comments"),
        (Recipe({"likes": -1, "shares": 0.5}, "impressions", False), "(-likes + 0.5 * shares) / impressions"),
        (Recipe({"likes": 1}, "", True, -3, 3), "min(max(log1p(likes), -3), 3)"),
        (Recipe({"likes": 1}, FIRST, False, None, None, "modifier"), f"(likes / {FIRST}) * modifier(toxicity)"),
        (Recipe({"likes": 3}, "", True, None, 9, "penalty"), "min(log1p(3 * likes), 9) + penalty(toxicity)"),
    ],
)
def test_formulas_read_as_a_person_would_write_them(recipe: Recipe, formula: str) -> None:
    assert formula_of(recipe) == formula


READINGS = [({"likes": 7, "comments": 3, "shares": 1, "impressions": 900}, 250), ({"likes": 0, "comments": 0}, 1)]


@pytest.mark.parametrize(
    "formula",
    [
        "log1p(likes)-log( followers )",
        "comments * 2 + likes",
        "(likes + comments) - -comments",  # a name twice: not expressible
        "log1p(comments + (likes - 0.25*comments)) - log(members)",
        "likes / first(impressions, followers) + penalty(toxicity)",
        "max(log1p(-(likes - 3 * comments) + 50), -1.5)",
        "-(likes - comments)",
        "min(likes, comments)",
        "max(min(likes, 3), 1)",
        "log(likes + 1)",
        "likes * comments",
        "likes + 1",
        "likes / age_hours",
        "followers",
        "0 * likes",
        "modifier(toxicity) * likes",
        "likes + penalty(toxicity, 0.5)",
        "min(max(likes, 3), 1)",
        "not a formula",
    ],
)
def test_what_the_builder_shows_means_what_was_written(formula: str) -> None:
    recipe = recipe_of(formula)
    if recipe is None:
        return
    for metrics, followers in READINGS:
        for toxic in (0.0, 0.9):
            try:
                expected = evaluate(formula, metrics, followers, 86_400, toxicity=toxic)
            except FormulaError:
                continue
            shown = evaluate(formula_of(recipe), metrics, followers, 86_400, toxicity=toxic)
            assert math.isclose(shown, expected, rel_tol=1e-12)


def test_which_of_these_the_builder_shows() -> None:
    assert recipe_of("log1p(likes)-log( followers )") == Recipe({"likes": 1.0}, "followers")
    assert recipe_of("-(likes - comments)") == Recipe({"likes": -1.0, "comments": 1.0}, "", False)
    for formula in (
        "log(likes + 1)",
        "max(min(likes, 3), 1)",
        "likes + comments + likes",
        "likes / age_hours",
        "1",
        "",
    ):
        assert recipe_of(formula) is None, formula


def test_a_recipe_that_says_nothing_is_refused() -> None:
    with pytest.raises(FormulaError, match="weight"):
        formula_of(Recipe({}))
    with pytest.raises(FormulaError, match="below"):
        formula_of(Recipe({"likes": 1}, low=2, high=2))
