"""Score formulas: what they compute, and that nothing else can be smuggled into them."""

from __future__ import annotations

import math

import pytest

from bots import scoring
from bots.scoring import FormulaError

DAY = 86_400.0
METRICS = ("likes", "comments")


def test_the_default_formula_computes_what_it_says() -> None:
    score = scoring.evaluate(scoring.DEFAULT_FORMULA, {"likes": 10}, 500, DAY)
    assert score == pytest.approx(math.log1p(10 / scoring.PRIOR.share(DAY)) - math.log(500))


def test_counts_are_grown_by_the_posts_age_and_nothing_else_is() -> None:
    age = scoring.HALF_LIFE_MINUTES * 60
    assert scoring.PRIOR.share(age) == pytest.approx(0.5)
    assert scoring.evaluate("likes", {"likes": 10}, None, age) == pytest.approx(20)
    assert scoring.evaluate("upvote_ratio", {"upvote_ratio": 90}, None, age) == 90
    assert scoring.evaluate("followers", {}, 100, age) == 100
    assert scoring.evaluate("age_hours", {}, None, 7200) == 2


def test_the_youngest_post_does_not_grow_without_bound() -> None:
    assert scoring.PRIOR.share(0) == 0.01
    assert scoring.evaluate("likes", {"likes": 1}, None, 0) == pytest.approx(100)


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("1 + 2 * 3", 7),
        ("2 ** 3 ** 2", 512),
        ("-(4 - 6) / 4", 0.5),
        ("max(1, 2) + min(3, 4) + abs(-5)", 10),
        ("sqrt(16) + log1p(0) + log(1)", 4),
        ("  +1.5  ", 1.5),
    ],
)
def test_arithmetic(formula: str, value: float) -> None:
    assert scoring.evaluate(formula, {}, None, DAY) == pytest.approx(value)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("1 / likes", "divides by zero"),
        ("comments / (likes - likes)", "divides by zero"),
        ("likes % 2", "cannot stand"),
        ("log(likes)", "log1p"),
        ("sqrt(-1 - likes)", "log1p"),
        ("shares + likes", "no value “shares”"),
        ("lieks", "no value “lieks”"),
        ("9 ** 9 ** 9 ** 9", "no usable number"),
        ("10.0 ** 400", "no usable number"),
        ("1e999", "no finite number"),
        ("1e308 * 10 + likes", "no finite number"),
        ("1e999 - 1e999", "no finite number"),
        ("(-8) ** 0.5", "no usable number"),
        ("log()", "no usable number"),
        ("max()", "no usable number"),
        ("log(1, 2, 3)", "no usable number"),
        ("", "not a formula"),
        ("likes likes", "not a formula"),
        ("likes = 1", "not a formula"),
        ("1; 2", "not a formula"),
        ("likes\n+ 1", "not a formula"),
        ("\0", "not a formula"),
        ("(" * 200, "not a formula"),
        ("1" + " + 1" * 75, "longer than 300"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_words(formula: str, words: str) -> None:
    with pytest.raises(FormulaError, match=words):
        scoring.check(formula, METRICS)


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os').system('true')",
        "(1).__class__",
        "likes.real",
        "().__class__.__bases__[0]",
        "[x for x in (1, 2)]",
        "{1: 2}[1]",
        "(lambda: 1)()",
        "likes if likes else 1",
        "f'{likes}'",
        "'a' * 9999999999",
        "True + 1",
        "1j",
        "likes and 1",
        "1 < 2",
        "~1",
        "1 << 9999",
        "likes @ 2",
        "(x := 3)",
        "max(*(1, 2))",
        "max(1, key=abs)",
        "log(2, base=3)",
        "pow(2, 3)",
        "eval('1')",
        "exec('1')",
        "open('/etc/passwd')",
        "log",
        "None",
        "...",
        "await likes",
        "-" * 290 + "'a'",
    ],
)
def test_a_formula_is_arithmetic_and_never_code(formula: str) -> None:
    with pytest.raises(FormulaError):
        scoring.check(formula, METRICS)
    with pytest.raises(FormulaError):
        scoring.evaluate(formula, {"likes": 1, "comments": 1}, 10, DAY)


def test_huge_powers_do_not_take_long() -> None:
    """Numbers are floats before the power is taken, so that nothing grows to a million digits."""
    with pytest.raises(FormulaError):
        scoring.check("likes ** 9999999999999999", METRICS)
    assert scoring.evaluate("2 ** 0.5", {}, None, DAY) == pytest.approx(math.sqrt(2))


def test_a_deep_formula_of_the_longest_length_is_computed() -> None:
    assert scoring.evaluate("-" * 298 + "1", {}, None, DAY) == 1


def test_a_missing_metric_is_missing_and_not_zero() -> None:
    with pytest.raises(FormulaError, match="comments"):
        scoring.evaluate("likes + comments", {"likes": 3}, 10, DAY)
    with pytest.raises(FormulaError, match="followers"):
        scoring.evaluate("likes / followers", {"likes": 3}, None, DAY)


def test_a_refusal_says_on_which_reactions_it_was_tried() -> None:
    with pytest.raises(FormulaError, match=r"every reaction = 0, followers = 1\)"):
        scoring.check("1 / likes", METRICS)
    with pytest.raises(FormulaError, match=r"every reaction = 7, followers = 250\)"):
        scoring.check("1 / (likes - 7)", METRICS)


@pytest.mark.parametrize("name", ["followers", "members", "subscribers"])
def test_the_accounts_exposure_has_a_name_for_each_kind_of_platform(name: str) -> None:
    formula = f"log1p(likes) - log({name})"
    scoring.check(formula, METRICS)
    assert scoring.evaluate(formula, {"likes": 0}, 100, DAY) == pytest.approx(-math.log(100))
    with pytest.raises(scoring.MissingValueError, match=name):
        scoring.evaluate(formula, {"likes": 3}, None, DAY)


def test_impressions_are_used_where_the_platform_gives_them_and_else_what_the_formula_says() -> None:
    formula = "log1p(likes) - log(first(impressions, followers))"
    scoring.check(formula, METRICS)
    scoring.check(formula, (*METRICS, "impressions"))
    curve = scoring.Curve(60, 1.0)  # half of both after an hour
    assert scoring.evaluate(formula, {"likes": 1, "impressions": 400}, 100, 3600, curve=curve) == pytest.approx(
        math.log(3) - math.log(800)
    )
    assert scoring.evaluate(formula, {"likes": 1}, 100, 3600, curve=curve) == pytest.approx(math.log(3) - math.log(100))
    with pytest.raises(scoring.MissingValueError, match="followers"):
        scoring.evaluate(formula, {"likes": 1}, None, 3600, curve=curve)


def test_a_known_zero_is_no_missing_value() -> None:
    assert scoring.evaluate("first(likes, 7)", {"likes": 0}, None, DAY) == 0
    assert scoring.evaluate("first(shares, likes + shares, 7)", {"likes": 0}, None, DAY) == 7


@pytest.mark.parametrize("formula", ["likes / impressions", "first(impresions, followers)", "first()", "first"])
def test_names_that_this_platform_never_gives_are_refused(formula: str) -> None:
    with pytest.raises(FormulaError):
        scoring.check(formula, METRICS)


@pytest.mark.parametrize("known", [{"followers": 0}, {"impressions": 0}])
def test_an_exposure_of_nobody_counts_as_one(known: dict[str, int]) -> None:
    followers = known.get("followers")
    metrics = {"likes": 1} | {name: count for name, count in known.items() if name == "impressions"}
    score = scoring.evaluate("log1p(likes) - log(first(impressions, followers))", metrics, followers, 1e9)
    assert score == pytest.approx(math.log(2))


def test_a_learned_curve_takes_the_priors_place() -> None:
    assert scoring.evaluate("likes", {"likes": 10}, None, 3600, curve=scoring.Curve(60, 2.0)) == pytest.approx(20)
