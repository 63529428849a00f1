"""The figures of a trial, against the sequence they are made from."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.engine.test_online_rounds import scored_posts
from training.engine.canary import trial_report
from training.engine.intervals import lift_sequence


def trial(policy: int, stable: int):
    speakers = ["policy"] * policy + ["stable"] * stable
    posts = [replace(post, speaker=speaker) for post, speaker in zip(scored_posts(40), speakers, strict=False)]
    return [*posts, *scored_posts(5)], np.linspace(-1, 1, len(posts) + 5)


def test_without_a_trial_there_is_nothing_to_tell():
    assert trial_report(scored_posts(10), np.zeros(10)) is None


def test_a_young_trial_has_no_interval_yet():
    posts, rewards = trial(7, 20)
    difference = rewards[:7].mean() - rewards[7:27].mean()
    assert trial_report(posts, rewards) == {"posts": 7, "stable_posts": 20, "difference": pytest.approx(difference)}
    posts, rewards = trial(7, 0)
    assert trial_report(posts, rewards) == {"posts": 7, "stable_posts": 0}


def test_scores_that_are_all_alike_show_no_difference():
    posts, rewards = trial(10, 20)
    report = trial_report(posts, np.full(len(rewards), 0.5))
    assert report == {"posts": 10, "stable_posts": 20, "difference": 0.0}


def test_the_difference_is_that_of_the_version_on_trial():
    posts, rewards = trial(8, 24)
    report = trial_report(posts, rewards)
    own, other = rewards[:8], rewards[8:32]
    assert (report["posts"], report["stable_posts"]) == (8, 24)
    assert report["difference"] == pytest.approx(own.mean() - other.mean())
    sequence = lift_sequence(list(other), list(own))
    assert (report["low"], report["high"]) == (-sequence.high, -sequence.low)
    assert report["low"] < report["difference"] < report["high"]
