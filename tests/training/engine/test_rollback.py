import math

import numpy as np
import pytest

from training.engine.rollback import Window, rollback, windows
from training.engine.round_types import ScoredPost


def life(*leads, baseline=8, noise=1.0, seed=0):
    """Posts and rewards: for each lead 64 learning-arm posts around it, with `baseline` others around 0 among them."""
    rng = np.random.default_rng(seed)
    posts, rewards = [], []
    for lead in leads:
        arms = [*rng.permutation(["learning"] * 63 + ["baseline"] * baseline), "learning"]
        for arm in map(str, arms):
            order = len(posts)
            posts.append(ScoredPost(str(order), f"post {order}", arm, 0.0, 0, order))
            rewards.append(lead * (arm == "learning") + noise * rng.standard_normal())
    return posts, np.array(rewards)


def test_a_window_by_hand():
    posts, rewards = life(0.0, noise=0.0, baseline=4)
    learning = [place for place, post in enumerate(posts) if post.arm == "learning"]
    others = [place for place, post in enumerate(posts) if post.arm == "baseline"]
    rewards[learning] = [2.0, 0.0] * 32
    rewards[others] = [1.0, 0.0, 0.0, 1.0]
    # Means 1 and 1/2; variances 64/63 and 1/3.
    (window,) = windows(posts, rewards)
    assert window.lead == pytest.approx(0.5)
    assert window.error == pytest.approx(math.sqrt(1 / 63 + 1 / 12))
    assert window.keys == tuple(posts[place].key for place in learning)


def test_the_order_of_publication_counts_and_not_that_of_the_scores():
    posts, rewards = life(1.0, 0.0)
    turned = windows(posts[::-1], rewards[::-1])
    assert [window.keys for window in turned] == [window.keys for window in windows(posts, rewards)]


def test_windows_without_a_baseline_are_not_judged():
    assert windows(*life(1.0, 0.0, baseline=3)) == []
    assert rollback(*life(2.0, 0.0, 0.0, baseline=0), judged=0) is None


def test_two_windows_in_a_row_below_the_best_mean_going_back():
    posts, rewards = life(0.5, 2.0, 0.3, 0.2, noise=0.5)
    answer = rollback(posts, rewards, judged=0)
    assert answer is not None
    assert answer["best_posts"] == list(windows(posts, rewards)[1].keys)
    assert answer["judged"] == 4
    assert answer["reason"].startswith("The bot's last 128 scored posts led the untrained model's by +0.")


@pytest.mark.parametrize(
    "leads", [(0.5, 2.0, 0.2), (0.5, 2.0, 0.2, 1.9), (0.5, 1.0, 0.9, 0.8), (2.0, 0.2), (0.0, 1.0, 2.0, 2.0)]
)
def test_one_bad_window_or_a_small_loss_does_not(leads):
    assert rollback(*life(*leads), judged=0) is None


def test_what_was_gone_back_on_is_not_judged_twice():
    posts, rewards = life(2.0, 0.0, 0.0, 0.0)
    assert rollback(posts[: 64 * 3 + 24], rewards[: 64 * 3 + 24], judged=0)["judged"] == 3
    assert rollback(posts, rewards, judged=3) is None
    assert rollback(*life(2.0, 0.0, 0.0, 0.0, 0.0), judged=3)["judged"] == 5


def test_a_fall_within_two_standard_errors_is_chance():
    best = Window((), 1.0, 0.3)
    assert not Window((), 0.01, 0.4).fell_below(best)
    assert Window((), -0.01, 0.4).fell_below(best)


def test_false_alarms_are_rare():
    alarms = sum(rollback(*life(*[1.0] * 8, noise=0.8, seed=seed), judged=0) is not None for seed in range(200))
    assert alarms < 10
