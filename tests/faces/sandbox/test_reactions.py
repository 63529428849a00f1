"""How the simulated audience reacts over time."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from faces.kinds.sandbox.reactions import METRICS, Moment, delivered, followers_gained, hour_effect, reactions

EVENING = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
MOMENT = Moment(expected=0.5, followers=5000, published_at=EVENING)
MINUTES = (0, 1, 15, 60, 180, 480, 1440, 2880, 10**7)


def test_reading_twice_gives_the_same_counts() -> None:
    assert reactions(7, "a", MOMENT, 100) == reactions(7, "a", MOMENT, 100)
    assert reactions(7, "a", MOMENT, 1e6) != reactions(8, "a", MOMENT, 1e6)
    assert reactions(7, "a", MOMENT, 1e6) != reactions(7, "b", MOMENT, 1e6)


@pytest.mark.parametrize("post", ["a", "b", "c", "d"])
def test_counts_start_at_zero_and_never_fall(post: str) -> None:
    read = [reactions(1, post, MOMENT, minutes) for minutes in MINUTES]
    assert read[0] == dict.fromkeys(METRICS, 0)
    for metric in METRICS:
        counts = [reading[metric] for reading in read]
        assert counts == sorted(counts)
    assert read[-1]["likes"] > 0


def test_half_of_the_reactions_come_within_eighty_minutes() -> None:
    assert delivered(80) == pytest.approx(0.5)
    assert delivered(0) == 0.0
    assert delivered(-5) == 0.0
    assert delivered(1440) == pytest.approx(0.9698, abs=1e-4)
    early = sum(reactions(1, str(post), MOMENT, 80)["likes"] for post in range(300))
    late = sum(reactions(1, str(post), MOMENT, 1e9)["likes"] for post in range(300))
    assert early / late == pytest.approx(0.5, abs=0.02)


def test_a_unit_of_expected_reaction_multiplies_the_likes_by_e() -> None:
    def log_likes(expected: float) -> float:
        moment = Moment(expected=expected, followers=50_000, published_at=EVENING)
        return float(np.mean([np.log(reactions(3, str(post), moment, 1e9)["likes"]) for post in range(300)]))

    assert log_likes(1.0) - log_likes(0.0) == pytest.approx(1.0, abs=0.02)


def test_likes_are_noisy_and_heavy_tailed() -> None:
    logs = np.log1p([reactions(5, str(post), MOMENT, 1e9)["likes"] for post in range(1000)])
    assert 0.4 < logs.std() < 0.8
    likes = np.expm1(logs)
    assert likes.max() > 4 * np.median(likes)


def test_questions_get_more_comments() -> None:
    asked = Moment(expected=0.5, followers=5000, published_at=EVENING, asks=True)
    plain = sum(reactions(1, str(post), MOMENT, 1e9)["comments"] for post in range(200))
    question = sum(reactions(1, str(post), asked, 1e9)["comments"] for post in range(200))
    assert question / plain == pytest.approx(np.exp(0.6), rel=0.1)


def test_hours_differ_but_cancel_over_a_week() -> None:
    week = [hour_effect(datetime(2026, 3, 2 + day, hour, tzinfo=UTC)) for day in range(7) for hour in range(24)]
    assert np.mean(week) == pytest.approx(0.0, abs=0.01)
    assert hour_effect(EVENING) > hour_effect(EVENING.replace(hour=4)) + 0.3


def test_followers_come_with_good_posts() -> None:
    assert followers_gained([], [], []) == 0.0
    assert followers_gained([0.0], [1000], [80]) == pytest.approx(1.0)
    assert followers_gained([1.0, 0.0], [1000, 500], [80, 0]) == pytest.approx(np.e)
    assert followers_gained([50.0], [1000], [80]) == pytest.approx(6.0)


def test_nobody_reacts_where_nobody_follows_and_counts_are_bounded() -> None:
    assert reactions(1, "a", Moment(0.5, 0, EVENING), 1e9) == dict.fromkeys(METRICS, 0)
    assert reactions(1, "a", Moment(30.0, 1e9, EVENING), 1e9)["likes"] < 210_000
