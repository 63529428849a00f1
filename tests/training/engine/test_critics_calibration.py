"""Calibration by hand-worked numbers, and honest splits."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from numpy.testing import assert_allclose

from training.engine.critics import calibration, splits
from training.engine.reward_model import Prior
from training.engine.round_types import ScoredPost
from training.engine.types import Conditions, RatedPost


def test_deciles_by_hand():
    predicted = np.array([0.3, 0.1, 0.2, 0.5, 0.4, 1.0, 0.9, 0.8, 0.7, 0.6])
    groups = calibration.by_decile(predicted, 2 * predicted)
    assert [group["count"] for group in groups] == [5, 5]
    assert_allclose([group["predicted"] for group in groups], [0.3, 0.8])
    assert_allclose([group["real"] for group in groups], [0.6, 1.6])
    assert [(group["low"], group["high"]) for group in groups] == [(0.1, 0.5), (0.6, 1.0)]
    assert len(calibration.by_decile(np.arange(200.0), np.arange(200.0))) == 10
    assert calibration.by_decile(np.zeros(0), np.zeros(0)) == []


def test_without_errors_intervals_are_a_normal_distributions():
    wanted = [NormalDist().inv_cdf(0.5 + level / 2) for level in calibration.LEVELS]
    assert_allclose(calibration.multipliers(np.zeros(0))[:2], wanted[:2], atol=0.02)
    assert 1.6 < calibration.multipliers(np.zeros(0))[2] < wanted[2]


def test_intervals_follow_the_errors_that_were_made():
    errors = np.linspace(-10, 10, 4001)
    assert_allclose(calibration.multipliers(errors), [5.0, 8.0, 9.5], rtol=0.02)
    assert_allclose(list(calibration.coverage(errors, np.array([5.0, 8.0, 9.5])).values()), [0.5, 0.8, 0.95], atol=1e-3)


def test_heavy_tails_are_covered_within_five_points():
    rng = np.random.default_rng(0)
    prior = Prior(np.zeros(8), np.full(8, 10.0), np.zeros(8, dtype=np.int64))
    found = []
    for _ in range(12):
        columns = rng.standard_normal((264, 8))
        rewards = np.clip(columns[:, 0] + rng.standard_t(2, 264), -3, 3)
        errors = calibration.standard_errors("bayesian_linear", columns[:64], rewards[:64], prior)
        fitted = calibration.registry.fit("bayesian_linear", columns[:64], rewards[:64], prior)
        mean, sd = fitted.predict(columns[64:])
        fresh = (rewards[64:] - mean) / np.sqrt(sd**2 + fitted.noise)
        found.append(list(calibration.coverage(fresh, calibration.multipliers(errors)).values()))
    assert_allclose(np.mean(found, axis=0), calibration.LEVELS, atol=0.05)


def test_predictions_made_before_publication():
    rng = np.random.default_rng(1)
    predicted, deviations = rng.standard_normal(1200), np.full(1200, 0.3)
    # Real rewards scatter twice as wide as believed: intervals learn it from the predictions before them.
    real = predicted + 2 * np.sqrt(0.3**2 + 1.0) * rng.standard_normal(1200)
    report = calibration.prequential(predicted, deviations, real, noise=1.0)
    assert report["count"] == 1200
    assert len(report["deciles"]) == 10
    assert_allclose(list(report["coverage"].values()), calibration.LEVELS, atol=0.05)
    assert list(report["coverage"]) == ["50%", "80%", "95%"]


def test_intervals_widen_when_the_audience_changes():
    errors = np.random.default_rng(2).standard_normal(1600)
    errors[400:] *= 3.0
    widths = calibration.running_multipliers(errors, 400)
    assert widths.shape == (1200, 3)
    assert_allclose(widths[0], calibration.multipliers(errors[144:400]))
    settled = list(calibration.coverage(errors[656:], widths[256:]).values())
    assert_allclose(settled, calibration.LEVELS, atol=0.05)
    stiff = calibration.coverage(errors[656:], calibration.multipliers(errors[:400]))
    assert stiff["80%"] < 0.5


def test_a_handful_of_predictions_says_nothing_yet():
    assert calibration.prequential([0.1] * 19, [0.1] * 19, [1.0] * 19, 1.0) == {}


def test_a_round_reports_on_posts_that_were_published_with_a_prediction():
    scored = [
        ScoredPost(str(place), "words", "learning", 0.0, 0, place, predicted=place / 10, predicted_sd=0.2)
        for place in range(24)
    ]
    human = [ScoredPost("x", "words", "baseline", 0.0, 0, 24, predicted=0.5)]
    rewards = np.append(np.arange(24) / 10, 99.0)
    found = calibration.of_round([*scored, *human], rewards, 1.0)["calibration"]
    assert found["count"] == 24
    assert found["coverage"] == {"50%": 1.0, "80%": 1.0, "95%": 1.0}
    assert calibration.of_round(scored[:19], rewards[:19], 1.0) == {}


def test_certainty_does_not_break_it():
    report = calibration.prequential([0.1] * 20, [0.0] * 20, [1.0] * 20, 0.0)
    assert all(0.0 <= share <= 1.0 for share in report["coverage"].values())


def test_area_under_the_curve_by_hand():
    # Pairs (positive, negative): .9>.1, .9>.5, .5>.1, .5=.5 → 3.5 of 4.
    assert calibration.area_under_curve(np.array([0.9, 0.5, 0.1, 0.5]), np.array([1, 1, 0, 0])) == 0.875
    assert np.isnan(calibration.area_under_curve(np.array([0.1, 0.2]), np.array([1, 1])))


def test_calibration_error_by_hand():
    # One group: |mean .7 − share .5| = .2.
    assert_allclose(calibration.calibration_error(np.array([0.6, 0.8]), np.array([1, 0])), 0.2)
    # Two groups of 40: |.2 − 0| and |.9 − 1|, half each.
    probabilities = np.repeat([0.2, 0.9], 40)
    assert_allclose(calibration.calibration_error(probabilities, np.repeat([0, 1], 40)), 0.15)


def post(author="", thread=""):
    return RatedPost("words", Conditions(author=author, context=f"{thread}\nsomething" if thread else ""))


def test_what_is_newer_is_judged_and_nobody_is_on_both_sides():
    posts = [
        post("ann"),
        post("bob", "one"),
        post("cat", "two"),
        post(),
        post(),
        post("bob"),
        post("dan", "two"),
        post(),
    ]
    split = splits.newest(posts, 0.375)
    assert split.judge.tolist() == [5, 6, 7]
    assert split.train.tolist() == [0, 3, 4]


def test_authors_are_kept_out_with_their_threads():
    posts = [post(f"author {place % 8}", f"thread {place % 16}") for place in range(64)]
    split = splits.other_authors(posts, 0.25, seed=1)
    judged = {posts[place].conditions.author for place in split.judge}
    assert len(judged) == 2
    assert not judged & {posts[place].conditions.author for place in split.train}
    assert len(split.judge) == 16
    assert len(split.train) == 48


def test_posts_that_the_language_model_has_not_seen_are_judged_where_they_are_enough():
    posts = [replace(post(f"author {place}"), unseen=place in (3, 7, 9)) for place in range(10)]
    split = splits.newest(posts, 0.4, fewest=2)
    assert (split.judge.tolist(), split.train.tolist(), split.unseen) == ([7, 9], [0, 1, 2, 3, 4, 5], True)
    assert split.judged_on == "posts that the language model was not fine-tuned on"
    split = splits.newest(posts, 0.4, fewest=3)
    assert (split.judge.tolist(), split.unseen) == ([6, 7, 8, 9], False)
    assert split.judged_on == "posts most of which the language model was fine-tuned on"


def test_authors_whom_the_language_model_has_not_seen_are_judged_where_they_wrote_enough():
    posts = [replace(post(f"author {place % 8}"), unseen=place % 8 < 2 or place == 15) for place in range(64)]
    split = splits.other_authors(posts, 0.5, seed=1, fewest=16)
    assert ({posts[place].conditions.author for place in split.judge}, split.unseen) == ({"author 0", "author 1"}, True)
    assert len(split.train) == 48
    split = splits.other_authors(posts, 0.5, seed=1, fewest=17)
    assert (len(split.judge), split.unseen) == (32, False)
    assert (
        split.judge.tolist()
        == splits.other_authors([replace(each, unseen=False) for each in posts], 0.5, seed=1).judge.tolist()
    )


@pytest.mark.parametrize("posts", [[], [post(), post()]])
def test_without_authors_nobody_can_be_kept_out(posts):
    assert len(splits.other_authors(posts, 0.5, seed=1).judge) == 0
