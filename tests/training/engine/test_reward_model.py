import numpy as np
import pytest
from numpy.testing import assert_allclose

from training.engine.reward_model import Prior, check, fit, rank_correlation


def flat(mean, precision, **kwargs):
    return Prior(
        np.array(mean, dtype=float), np.array(precision, dtype=float), np.zeros(len(mean), dtype=int), **kwargs
    )


def test_without_scores_the_answer_is_the_prior():
    posterior = fit(np.zeros((0, 2)), np.zeros(0), flat([0.25, 0.0], [4.0, 100.0]))
    mean, deviation = posterior.predict(np.array([[2.0, 3.0]]))
    assert_allclose(mean, [0.5])
    assert_allclose(deviation, [np.sqrt(4 / 4 + 9 / 100)])


def test_one_weight_by_hand():
    # Evidence held fast by a huge pseudo-count: precision 3 + 1·(1 + 4) = 8, mean 0.5 + (1·(1.5 − 0.5) + 2·(4 − 1)) / 8
    # = 1.375.
    posterior = fit(np.array([[1.0], [2.0]]), np.array([1.5, 4.0]), flat([0.5], [3.0], evidence=1e12))
    assert_allclose(posterior.mean, [1.375], rtol=1e-9)
    assert_allclose(posterior.covariance, [[1 / 8]], rtol=1e-9)
    assert_allclose(posterior.noise, 1.0, rtol=1e-9)


def test_the_evidence_finds_the_noise_and_the_weights():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2000, 5))
    truth = np.array([1.0, -0.5, 0.25, 0.0, 0.0])
    targets = features @ truth + 0.5 * rng.standard_normal(2000)
    posterior = fit(features, targets, flat(np.zeros(5), np.full(5, 400.0)))
    assert_allclose(posterior.mean, truth, atol=0.05)
    assert_allclose(posterior.noise, 0.25, atol=0.03)


def test_groups_find_their_own_scales():
    rng = np.random.default_rng(4)
    features = rng.standard_normal((400, 40))
    truth = np.concatenate([rng.standard_normal(4), np.zeros(36)])
    targets = features @ truth + 3.0 * rng.standard_normal(400)
    together = flat(np.zeros(40), np.full(40, 400.0))
    apart = Prior(together.mean, together.precision, np.repeat([0, 1], [4, 36]))
    error = [float(np.sum((fit(features, targets, prior).mean - truth) ** 2)) for prior in (together, apart)]
    assert error[1] < 0.6 * error[0]


def test_its_standard_deviation_is_honest():
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(60):
        truth = rng.standard_normal(40) / 20
        features = rng.standard_normal((80, 40))
        posterior = fit(features, features @ truth + rng.standard_normal(80), flat(np.zeros(40), np.full(40, 400.0)))
        fresh = rng.standard_normal((50, 40))
        mean, deviation = posterior.predict(fresh)
        inside.append(np.mean(np.abs(mean - fresh @ truth) < deviation))
    assert 0.6 < np.mean(inside) < 0.77


def test_thompson_draws_have_the_posteriors_moments():
    posterior = fit(np.array([[1.0, 0.5]] * 4), np.ones(4), flat([0.0, 0.0], [1.0, 2.0]))
    rng = np.random.default_rng(2)
    draws = np.array([posterior.draw(rng) for _ in range(4000)])
    assert_allclose(draws.mean(axis=0), posterior.mean, atol=0.06)
    assert_allclose(np.cov(draws.T), posterior.covariance, atol=0.06)


def test_rank_correlation_by_hand():
    # Ranks (1, 2, 3, 4) and (2, 1, 4, 3): 1 − 6·4 / (4·15) = 0.6. With ties (1.5, 1.5, 3) against (1, 2, 3): √3/2.
    assert_allclose(rank_correlation([10, 20, 30, 40], [0.2, 0.1, 9, 8]), 0.6)
    assert_allclose(rank_correlation([5, 5, 7], [1, 2, 3]), np.sqrt(3) / 2)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0.0


def test_the_check_passes_while_it_has_too_little_to_go_by():
    verdict = check([0.1] * 10, [3.0] * 10)
    assert (verdict.correlation, verdict.slope, verdict.passed) == (None, None, True)


def test_the_check_judges_nothing_by_scores_or_predictions_that_are_all_equal():
    varied = list(np.linspace(-1, 1, 64))
    for equal in ([0.0] * 64, [0.1] * 64):  # the mean of the latter is not quite 0.1
        for verdict in (check(varied, equal), check(equal, varied)):
            assert (verdict.correlation, verdict.slope, verdict.passed) == (None, None, True)


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (0.6, True), (0.4, False), (2.1, False), (-1.0, False)])
def test_the_check_wants_a_slope_near_one(factor, passed):
    predicted = np.linspace(-1, 1, 64)
    verdict = check(list(predicted), list(factor * predicted))
    assert_allclose(verdict.slope, factor)
    assert verdict.passed is passed


def test_the_check_looks_at_the_last_64_only():
    predicted = np.linspace(-1, 1, 64)
    verdict = check([*-predicted, *predicted], [*predicted, *predicted])
    assert_allclose(verdict.correlation, 1.0)


def test_unrelated_predictions_fail():
    rng = np.random.default_rng(0)
    assert not check(list(rng.standard_normal(64)), list(-np.abs(rng.standard_normal(64)))).passed


def test_a_noisier_score_counts_for_less() -> None:
    """Two scores of one thing, 1 and 5, the second with four times the noise variance: (1 + 5/4) / (1 + 1/4) = 1.8."""
    prior = Prior(np.zeros(1), np.full(1, 1e-9), np.zeros(1, dtype=int))
    features, targets = np.ones((2, 1)), np.array([1.0, 5.0])
    weighted = fit(features, targets, prior, np.array([1.0, 4.0]), iterations=1)
    assert_allclose(weighted.mean, [1.8], rtol=1e-6)
    assert_allclose(fit(features, targets, prior, iterations=1).mean, [3.0], rtol=1e-6)
