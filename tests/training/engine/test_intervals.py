import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from training.engine.intervals import MIN_POSTS, lift_sequence, sequence_radius, welch


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


def test_the_lifts_radius_is_the_sum_of_the_arms_at_half_alpha_each():
    learning, baseline = [1.0, 3.0] * 40, [0.0, 4.0] * 10
    interval = lift_sequence(learning, baseline, alpha=0.1)
    assert interval is not None
    radii = [
        sequence_radius(float(np.std(learning, ddof=1)), 80, 0.05, tuned_for=128),
        sequence_radius(float(np.std(baseline, ddof=1)), 20, 0.05, tuned_for=24),
    ]
    assert interval.estimate == 0.0
    assert_allclose([interval.low, interval.high], [-sum(radii), sum(radii)])


def test_a_small_arm_has_no_interval():
    arm = [0.0, 1.0] * MIN_POSTS
    assert lift_sequence(arm, arm[: MIN_POSTS - 1]) is None
    assert lift_sequence(arm[: MIN_POSTS - 1], arm) is None
    assert lift_sequence(arm, arm[:MIN_POSTS]) is not None


def test_the_sequence_covers_the_truth_for_nearly_all_who_peek_after_every_post():
    rng = np.random.default_rng(7)
    users, missed_sequence, missed_welch = 200, 0, 0
    for _ in range(users):
        posts = rng.standard_t(5, size=400) * 0.8 + 0.5 * (rng.random(400) < 0.1)
        is_anchor = rng.random(400) < 0.15
        truth = 0.0
        sequence_wrong = welch_wrong = False
        for count in range(20, 401, 8):
            arms = posts[:count][~is_anchor[:count]], posts[:count][is_anchor[:count]]
            interval = lift_sequence(*arms)
            if interval is not None:
                sequence_wrong |= not interval.low <= truth <= interval.high
                fixed = welch(*arms)
                welch_wrong |= not fixed.low <= truth <= fixed.high
        missed_sequence += sequence_wrong
        missed_welch += welch_wrong
    assert missed_sequence / users <= 0.05
    assert missed_welch / users > 0.05


def test_the_sequence_finds_a_real_lift():
    rng = np.random.default_rng(3)
    interval = lift_sequence(list(rng.standard_normal(220) + 1.2), list(rng.standard_normal(36)))
    assert interval is not None
    assert interval.low > 0
