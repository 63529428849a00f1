"""What toxicity takes from a score, and the built-in lexicon."""

from __future__ import annotations

import hashlib
import math

import pytest

from bots import scoring, toxicity
from bots.scoring import FormulaError, modifier, penalty

DAY = 86_400.0


def test_the_modifier_by_hand() -> None:
    # τ = ½: p = 1. x = 0.6, α = ½: (0.6 / 0.4)² = 2.25, M = 1 / 3.25.
    assert modifier(0.6, 0.5, 0.5) == pytest.approx(1 / 3.25)
    # τ = 0.8, α = 0.9: p = ln 2 / ln 1.25 = 3.106284; 0.7^p = 0.330240, odds 0.493073, to the tenth 8.494e-4.
    assert modifier(0.7) == pytest.approx(1 / (1 + 8.494e-4), abs=1e-7)
    assert modifier(0.9) == pytest.approx(7.6e-5, rel=0.02)
    assert (modifier(0.0), modifier(1.0)) == (1.0, 0.0)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("sharpness", [0.0, 0.5, 0.9, 0.999])
def test_at_the_threshold_half_is_left(threshold: float, sharpness: float) -> None:
    assert modifier(threshold, threshold, sharpness) == pytest.approx(0.5)
    assert penalty(threshold, threshold, sharpness) == pytest.approx(-math.log(2))


def test_the_penalty_is_the_modifiers_logarithm_and_finite() -> None:
    for x in (1e-300, 1e-9, 0.1, 0.5, 0.79, 0.85):
        assert penalty(x) == pytest.approx(math.log(modifier(x)), abs=1e-12)
    assert -250 < penalty(1.0) < -150
    assert penalty(0.0) == penalty(-1.0) == 0.0


def test_more_toxic_is_never_better() -> None:
    steps = [number / 200 for number in range(201)]
    assert [penalty(x) for x in steps] == sorted((penalty(x) for x in steps), reverse=True)


@pytest.mark.parametrize("arguments", ["toxicity, 0", "toxicity, 1", "toxicity, 0.8, 1", "toxicity, 0.8, 0 - 1"])
def test_a_threshold_that_is_none_is_refused_in_words(arguments: str) -> None:
    with pytest.raises(FormulaError, match="between 0 and 1"):
        scoring.check(f"log1p(likes) + penalty({arguments})", ("likes",))


@pytest.mark.parametrize(
    "formula",
    [
        "log1p(likes) - log(followers) + penalty(toxicity)",
        "log1p(likes) * modifier(toxicity) - log(followers)",
        "likes / followers * modifier(toxicity, 0.7, 0.5)",
        "log1p(likes * modifier(toxicity)) - log(followers)",
        "log1p(likes) - 2 * toxicity",
    ],
)
def test_a_toxic_post_never_gains(formula: str) -> None:
    scoring.check(formula, ("likes",))
    for likes in (0, 1, 20, 5000):
        harmless, *toxic = (
            scoring.evaluate(formula, {"likes": likes}, 300, DAY, toxicity=x) for x in (0.0, 0.3, 0.8, 0.9, 1.0)
        )
        assert all(score <= harmless for score in toxic)


@pytest.mark.parametrize(
    "formula",
    ["(log1p(likes) - log(followers)) * modifier(toxicity)", "likes + toxicity", "log1p(likes) - modifier(toxicity)"],
)
def test_a_formula_by_which_toxic_posts_gain_is_refused(formula: str) -> None:
    with pytest.raises(FormulaError, match=r"toxic post would score more.*add penalty\(toxicity\)"):
        scoring.check(formula, ("likes",))


def test_the_lexicon_hears_insults_and_saturates() -> None:
    assert toxicity.lexicon("What a lovely morning") == 0.0
    assert toxicity.lexicon("") == 0.0
    mild, strong = toxicity.lexicon("You are an idiot"), toxicity.lexicon("You are vermin, go die")
    assert mild == pytest.approx(1 - math.exp(-0.3))
    assert strong == pytest.approx(1 - math.exp(-2.0))
    assert 0.99 < toxicity.lexicon("idiot " * 50) < 1.0


def test_a_phrase_counts_once_and_not_again_by_its_words() -> None:
    assert toxicity.lexicon("Fuck you!") == pytest.approx(1 - math.exp(-0.6))


def test_disguises_are_seen_through() -> None:
    assert toxicity.lexicon("you 1d10t, v e r m i n") == pytest.approx(1 - math.exp(-1.3))
    assert toxicity.lexicon("IDÍOT") == toxicity.lexicon("idiot")


def test_words_that_only_hold_an_insult_are_none() -> None:
    assert toxicity.lexicon("A trashcan in Scunthorpe, and a classic bastardized") == 0.0


def test_a_slur_of_the_rules_list_weighs_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toxicity, "SLURS", frozenset({hashlib.sha256(b"frobnicator").hexdigest()}))
    assert toxicity.lexicon("you frobnicator") == pytest.approx(1 - math.exp(-2.5))
    assert modifier(toxicity.lexicon("you frobnicator")) < 0.001
