import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.bench import bench_lift
from training.engine.intervals import (
    MIN_POSTS,
    Interval,
    lift_sequence,
    mixture_bound,
    sequence_radius,
    welch,
)


def test_welch_by_hand():
    # Means 3 and 1; variances 2.5 and 4/3, shares 1/2 and 1/3; ν = (5/6)² / ((1/4)/4 + (1/9)/3) = 6.9767; t.975 there
    # is 2.366.
    interval = welch([1, 2, 3, 4, 5], [0, 2, 0, 2])
    shares = 2.5 / 5 + (4 / 3) / 4
    freedom = shares**2 / (0.5**2 / 4 + (1 / 3) ** 2 / 3)
    assert_allclose(freedom, 6.9767, atol=1e-3)
    assert interval.estimate == 2.0
    assert_allclose(interval.high - interval.estimate, 2.36603 * math.sqrt(shares), atol=1e-3)
    assert_allclose(interval.estimate - interval.low, interval.high - interval.estimate)


@pytest.mark.parametrize(("count", "quantile"), [(2, 4.30265), (6, 2.22814), (31, 2.00030)])
def test_welch_of_equal_arms_uses_students_quantile(count, quantile):
    # Two arms of the same spread and size have 2n − 2 degrees of freedom: 2, 10 and 60, whose quantiles are in every
    # table.
    arm = np.arange(count) - (count - 1) / 2
    interval = welch(list(arm), list(arm))
    assert_allclose(interval.high / math.sqrt(2 * arm.var(ddof=1) / count), quantile, atol=1e-4)


def test_welch_of_arms_without_spread_has_no_width():
    interval = welch([2.0, 2.0], [1.0, 1.0])
    assert (interval.low, interval.high) == (1.0, 1.0)


def test_welch_refuses_a_single_number():
    with pytest.raises(ValueError, match="two numbers"):
        welch([1.0], [1.0, 2.0])


def test_the_sequences_radius_by_hand():
    # α = e^-2, so -2 ln α = 4 and ρ² = (4 + ln 5) / 64 = 0.0876475; at t = 100, tρ² + 1 = 9.764747.
    expected = 3 * math.sqrt(2 * 9.764747 / (10000 * 0.0876475) * (math.log(math.sqrt(9.764747)) + 2))
    assert_allclose(sequence_radius(3.0, 100, math.exp(-2), tuned_for=64), expected, rtol=1e-5)


def test_the_mixture_bound_by_hand():
    # φ = 4 and an information of 12: r = 1/4. α = e^-2, ν = 9: k = (e^-4 / 4)^(1/10) = 0.583547;
    # t² = 9 (1 − k) / (k − r) = 11.23702.
    assert_allclose(mixture_bound(12.0, 9.0, math.exp(-2), prior=4.0) ** 2, 11.23702, rtol=1e-5)


def test_with_many_degrees_of_freedom_the_bound_is_robbins_normal_mixture():
    # (2 ln 20 + ln 4) / (1 − 1/4) = 9.837012.
    assert_allclose(mixture_bound(12.0, 1e9, 0.05, prior=4.0) ** 2, 9.837012, rtol=1e-5)


def test_nothing_is_excluded_before_there_is_information():
    assert mixture_bound(0.5, 3.0, 0.05) == math.inf


def test_the_bound_is_where_the_bayes_factor_reaches_one_over_alpha():
    """The Bayes factor by numerical integration over the effect, σ² and the two other coefficients integrated out."""
    information, freedom, alpha, prior = 20.0, 12.0, 0.05, 4.0
    bound = mixture_bound(information, freedom, alpha, prior)

    # y = δ̂-part (one coordinate of size t σ̂) and ν residual coordinates; with a 1/σ² prior on σ², each hypothesis has
    # marginal likelihood ∝ |C|^-1/2 (y' C^-1 y)^-(ν+1)/2, C = 1 or 1 + I/φ in the first coordinate.
    def marginal(first: float) -> float:
        return first**-0.5 * (bound**2 / first + freedom) ** (-(freedom + 1) / 2)

    assert_allclose(marginal(1 + information / prior) / marginal(1.0), 1 / alpha, rtol=1e-9)


def test_the_lift_by_hand():
    # Learning 16 posts of mean 2 and squares 16, baseline 8 of mean 1 and squares 32: common variance 48/22 = 24/11.
    # Variances drawn towards it by 8 posts: (16 + 192/11)/23 = 16/11 and (32 + 192/11)/15 = 544/165;
    # shares 1/11 and 68/165, standard error √(83/165).
    interval = lift_sequence([1.0, 3.0] * 8, [-1.0, 3.0] * 4, alpha=0.1)
    assert interval is not None
    freedom = (83 / 165) ** 2 / ((1 / 11) ** 2 / 23 + (68 / 165) ** 2 / 15)
    radius = mixture_bound(16 / 3, freedom, 0.1) * math.sqrt(83 / 165)
    assert interval.estimate == 1.0
    assert_allclose([interval.low, interval.high], [1 - radius, 1 + radius])


def test_a_trend_that_both_arms_share_is_no_lift():
    # The baseline spoke early, the learning arm late; all rise by 0.1 a post and nothing else separates them.
    places = np.arange(40, dtype=float)
    early = np.isin(np.arange(40), [0, 1, 2, 4, 6, 8, 10, 15, 20, 30])
    wiggle = np.where(np.arange(40) % 2 == 0, 0.3, -0.3)
    scores = 0.1 * places + wiggle
    arms = scores[~early], scores[early]
    plain, adjusted = lift_sequence(*arms), lift_sequence(*arms, when=(places[~early], places[early]))
    assert plain is not None
    assert adjusted is not None
    assert plain.estimate > 1.0
    design = np.stack([np.ones(40), places, ~early], axis=1)
    assert_allclose(adjusted.estimate, np.linalg.lstsq(design, scores, rcond=None)[0][2])
    assert abs(adjusted.estimate) < 0.3
    assert adjusted.high - adjusted.low < plain.high - plain.low


def test_the_learning_arms_own_progress_stays_in_the_lift():
    places = np.arange(64, dtype=float)
    anchor = np.arange(64) % 4 == 1
    scores = np.where(anchor, 0.0, places / 32) + np.where(np.arange(64) % 8 < 4, 0.2, -0.2)
    interval = lift_sequence(scores[~anchor], scores[anchor], when=(places[~anchor], places[anchor]))
    assert interval is not None
    assert_allclose(interval.estimate, (places[~anchor] / 32).mean(), atol=0.05)


def test_a_small_arm_has_no_interval():
    arm = [0.0, 1.0] * MIN_POSTS
    assert lift_sequence(arm, arm[: MIN_POSTS - 1]) is None
    assert lift_sequence(arm[: MIN_POSTS - 1], arm) is None
    assert lift_sequence(arm, arm[:MIN_POSTS]) is not None


def test_arms_without_any_spread_have_no_interval():
    """Scores that never differ say nothing of how much they could."""
    assert lift_sequence([1.0] * 20, [0.0] * 20) is None


def test_the_interval_covers_the_truth_for_nearly_all_who_look_after_every_post():
    bots = bench_lift.lives(60, seed=3, posts=256)
    found = bench_lift.report(bots, [bench_lift.watch(life) for life in bots])
    assert found["coverage"] >= bench_lift.GOAL_COVERAGE
    assert found["false_claims"] <= bench_lift.GOAL_FALSE
    assert found["median_ratio"] <= bench_lift.GOAL_RATIO


def test_an_interval_for_one_look_misleads_who_looks_after_every_post(monkeypatch):
    monkeypatch.setattr(bench_lift, "lift_sequence", one_look)
    bots = bench_lift.lives(60, seed=3, posts=256)
    found = bench_lift.report(bots, [bench_lift.watch(life) for life in bots])
    assert found["coverage"] < 0.9
    assert found["false_claims"] > 0.1


def one_look(ours, theirs, when):
    if min(len(ours), len(theirs)) < MIN_POSTS:
        return None
    estimate = ours.mean() - theirs.mean()
    radius = 1.96 * math.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs))
    return Interval(estimate, estimate - radius, estimate + radius)


def test_one_look_is_planned_as_the_tables_say():
    # Cohen: 64 an arm for a difference of half a standard deviation, two-sided 5 %, power 80 %.
    assert bench_lift.posts_for_one_look(0.5, 0.5) in (127, 128)
