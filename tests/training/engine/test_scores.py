import numpy as np
import pytest
from numpy.testing import assert_allclose

from training.engine import scores


def test_the_window_scaler_gives_the_originals_stream():
    assert_allclose(scores.window_scale([1, 2, 3, 3, 10]), [0, 0.70711, 1.0, 0.78335, 1.73976], atol=1e-4)


def test_the_window_scaler_forgets_what_left_the_window():
    # The window of 2 holds (5, 7): mean 6, unbiased deviation √2.
    assert_allclose(scores.window_scale([1000, 5, 7], window=2), [0, -1 / np.sqrt(2), 1 / np.sqrt(2)])


def test_robust_scale_by_hand():
    # Median 3, absolute deviations 2 1 0 1 97, their median 1.
    assert_allclose(scores.robust_scale([1, 2, 3, 4, 100]), [-2 / 1.4826, -1 / 1.4826, 0, 1 / 1.4826, 3], atol=1e-12)


def test_missing_scores_stay_missing_and_do_not_count():
    scaled = scores.robust_scale([1, 2, np.nan, 3, 4, 100])
    assert np.isnan(scaled[2])
    assert_allclose(np.delete(scaled, 2), scores.robust_scale([1, 2, 3, 4, 100]))


def test_equal_scores_are_zeros():
    assert_allclose(scores.robust_scale([5.0, 5.0, 5.0]), [0, 0, 0])


def test_nothing_known_is_nothing_scaled():
    assert scores.robust_scale([]).shape == (0,)
    assert np.isnan(scores.robust_scale([np.nan, np.nan])).all()


def test_mostly_equal_scores_fall_back_to_the_standard_deviation():
    # Median 0 and MAD 0; the deviation of (0, 0, 0, 4) is √3.
    assert_allclose(scores.robust_scale([0, 0, 0, 4]), [0, 0, 0, 4 / np.sqrt(3)])


def test_among_mostly_equal_scores_one_extreme_does_not_hide_the_rest():
    # Those that differ from the median 0 lie 1 from it, so 1e6 counts as 3: mean 3.3/9.1, mean square 3.9/9.1.
    scaled = scores.robust_scale([0] * 60 + [1] * 30 + [1e6])
    assert_allclose(scaled[:60], 0)
    assert_allclose(scaled[60:90], 1 / np.sqrt(39 / 91 - (33 / 91) ** 2))
    assert scaled[90] == 3


@pytest.mark.parametrize("apart", [7.5e-9, 1e-7])
def test_what_rounding_makes_is_no_difference(apart):
    near = [1.3, 1.3 + apart] * 40
    assert_allclose(scores.robust_scale(near), np.zeros(80))
    assert_allclose(scores.normalise_rewards(near, np.arange(80) * 7 % 168), np.zeros(80))
    assert scores.all_equal(near)


def test_small_differences_of_small_scores_count():
    rates = np.array([1, 2, 3, 4, 100])
    assert_allclose(scores.robust_scale(rates * 1e-6), scores.robust_scale(rates))
    assert not scores.all_equal(rates * 1e-6)


def test_a_full_week_of_a_daily_wave_is_recovered_up_to_the_shrinkage():
    hours = np.arange(168)
    wave = np.cos(2 * np.pi * hours / 24)
    # Columns are orthogonal over the week with 168 posts' weight each: 168 / (168 + 42) = 0.8 of it remains.
    assert_allclose(scores.hour_effect(wave + 7, hours, shrinkage=42), 0.8 * wave, atol=1e-9)


def test_the_hour_effect_of_one_post_or_none_is_nothing():
    assert_allclose(scores.hour_effect([3.0, np.nan], [5, 6]), [0, 0])


def test_normalised_rewards_lose_the_hour_and_keep_the_order_within_it():
    hours = np.tile(np.arange(168), 4)
    rng = np.random.default_rng(0)
    quality = rng.standard_normal(hours.size)
    rewards = quality + 2 * np.sin(2 * np.pi * hours / 24)
    normalised = scores.normalise_rewards(rewards, hours)
    assert np.corrcoef(normalised, quality)[0, 1] > 0.98
    assert np.corrcoef(scores.robust_scale(rewards), quality)[0, 1] < 0.7


def test_one_hour_of_two_by_hand():
    # Two posts at hour 0 worth 1, two at hour 84 worth −1. The cosines of periods 24, 12, 168 are 1, 1, 1 at hour 0
    # and −1, 1, −1 at hour 84, the sines 0. Columns of the first and third are √2 and −√2 alike and carry the
    # difference: each has Σx² = 8 and Σxy = 4√2, so both weights are 4√2 / (16 + 8 + 8) = √2/8, and the effect at hour
    # 0 is 2 · √2 · √2/8 = 1/2.
    effect = scores.hour_effect([1.0, 1.0, -1.0, -1.0], [0, 0, 84, 84])
    assert_allclose(effect, [0.5, 0.5, -0.5, -0.5], atol=1e-12)


def test_few_posts_move_the_hours_little_and_more_posts_more():
    effects = [scores.hour_effect([1.0, -1.0] * count, [0, 84] * count)[0] for count in (1, 2, 8, 64)]
    # n pairs: Σx² = 4n and Σxy = 2√2 n for each of two columns, so 2 · √2 · 2√2 n / (16 + 8n).
    assert_allclose(effects, [8 * n / (16 + 8 * n) for n in (1, 2, 8, 64)], atol=1e-12)


@pytest.mark.parametrize("rewards", [[5.0], [5.0] * 30])
def test_one_score_or_equal_scores_are_normalised_to_nothing(rewards):
    assert_allclose(scores.normalise_rewards(rewards, np.arange(len(rewards)) * 7 % 168), np.zeros(len(rewards)))


@pytest.mark.parametrize("usual", [0.0, np.log(2) - np.log(812)])
def test_equal_posts_stay_equal_whatever_their_hour_when_one_goes_viral(usual):
    hours = np.random.default_rng(3).integers(0, 168, 100)
    normalised = scores.normalise_rewards([usual] * 99 + [usual + 10], hours)
    assert_allclose(normalised, [0.0] * 99 + [3.0], atol=1e-12)


def test_mostly_posts_without_likes_tell_nothing_of_their_hours():
    hours = np.random.default_rng(4).integers(0, 168, 200)
    normalised = scores.normalise_rewards([0.0] * 190 + [np.log(2)] * 10, hours)
    assert_allclose(normalised, [0.0] * 190 + [3.0] * 10)


def test_scores_that_the_hour_explains_wholly_hardly_differ_without_it():
    # 500 pairs: 16 / (16 + 8 · 500) of the units ±1/1.4826 remains, and a tenth of a unit is what they are divided by.
    normalised = scores.normalise_rewards([1.0, -1.0] * 500, [0, 84] * 500)
    assert_allclose(normalised[:2], np.array([10, -10]) * 16 / 4016 / 1.4826, rtol=1e-9)


def test_one_viral_post_is_clipped_and_leaves_the_others_where_they_were():
    rng = np.random.default_rng(2)
    hours = rng.integers(0, 168, 60)
    rewards = rng.standard_normal(60)
    viral = rewards.copy()
    viral[7] = 1e6
    normalised, plain = scores.normalise_rewards(viral, hours), scores.normalise_rewards(rewards, hours)
    assert 2.0 < normalised[7] <= 3.0
    others = np.arange(60) != 7
    assert np.abs(normalised - plain)[others].max() < 0.25


def test_a_missing_reward_stays_missing_and_moves_no_other():
    rewards, hours = [1.0, 2.0, 5.0, 3.0, 2.5], [3, 50, 7, 9, 100]
    with_gap = scores.normalise_rewards([*rewards, np.nan], [*hours, 20])
    assert np.isnan(with_gap[-1])
    assert_allclose(with_gap[:-1], scores.normalise_rewards(rewards, hours))
