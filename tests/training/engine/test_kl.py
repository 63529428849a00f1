import math

import pytest
from numpy.testing import assert_allclose

from training.engine.kl import KLController, kl_target, must_stop, pull_back


@pytest.mark.parametrize(("kl", "exponent"), [(2.0, 0.0), (3.0, 0.075), (1.0, -0.075), (100.0, 0.15), (0.0, -0.15)])
def test_the_price_follows_the_error(kl, exponent):
    assert_allclose(KLController(beta=0.02).update(kl, target=2.0).beta, 0.02 * math.exp(exponent))


def test_the_price_stays_within_its_bounds():
    assert KLController(beta=10.0).update(100.0, 1.0).beta == 10.0
    assert KLController(beta=0.01).update(0.0, 1.0).beta == 0.01


@pytest.mark.parametrize(("posts", "target"), [(0, 0.5), (96, 2.0), (224, 4.0), (5000, 4.0)])
def test_the_target_grows_with_the_evidence(posts, target):
    assert_allclose(kl_target(4.0, posts), target)


def test_the_diversity_floor_lowers_the_target():
    assert_allclose(kl_target(4.0, 224, factor=0.5), 2.0)


@pytest.mark.parametrize(("kl", "stop"), [(0.0, False), (4.0, False), (4.01, True), (math.nan, True), (math.inf, True)])
def test_it_stops_beyond_twice_the_target(kl, stop):
    assert must_stop(kl, target=2.0) is stop


def test_pulling_back_halves_the_distance_for_a_quarter_of_the_divergence():
    assert_allclose(pull_back(8.0, 2.0), 0.5)
    assert pull_back(1.0, 2.0) == 1.0
