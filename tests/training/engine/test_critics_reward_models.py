"""The seam of reward models, and the ensemble behind it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from training.engine import reward_model
from training.engine.critics import neural, registry
from training.engine.reward_model import Prior, rank_correlation
from training.engine.round_types import REWARD_MODEL_LABELS, OnlineConfig
from training.engine.scores import normalise_rewards

WIDTH = 6
PRIOR = Prior(np.zeros(WIDTH), np.full(WIDTH, 10.0), np.zeros(WIDTH, dtype=np.int64))
NAMES = sorted(REWARD_MODEL_LABELS)


def rows(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, WIDTH))


def bent(columns):
    """Rewards that no line can follow: a product and a threshold."""
    return columns[:, 0] * columns[:, 1] + np.abs(columns[:, 2])


def test_the_seam_knows_what_people_may_choose():
    assert set(registry._PATHS) == set(REWARD_MODEL_LABELS)
    assert OnlineConfig().reward_model == next(iter(REWARD_MODEL_LABELS)) == "bayesian_linear"
    with pytest.raises(ValueError, match=r"Unknown reward model 'oracle'. Choose one of: bayesian_linear, neural"):
        registry.fit("oracle", rows(3), np.zeros(3), PRIOR)


def test_the_default_is_the_bayesian_line():
    columns = rows(30)
    ours = registry.fit("bayesian_linear", columns, columns[:, 0], PRIOR)
    assert_allclose(ours.predict(columns), reward_model.fit(columns, columns[:, 0], PRIOR).predict(columns))


def test_the_ensemble_learns_what_a_line_cannot():
    columns, fresh = rows(1500), rows(400, seed=1)
    noisy = bent(columns) + 0.3 * np.random.default_rng(2).standard_normal(1500)
    found = {name: registry.fit(name, columns, noisy, PRIOR) for name in NAMES}
    fit = {name: rank_correlation(model.predict(fresh)[0], bent(fresh)) for name, model in found.items()}
    assert fit["neural_ensemble"] > 0.7
    assert fit["neural_ensemble"] > fit["bayesian_linear"] + 0.4
    assert found["neural_ensemble"].noise < 0.6 * found["bayesian_linear"].noise


def test_the_ensemble_is_the_line_where_a_line_is_all_there_is():
    columns, fresh = rows(200), rows(50, seed=1)
    rewards = columns[:, 0] + np.random.default_rng(3).standard_normal(200)
    line, ensemble = (registry.fit(name, columns, rewards, PRIOR) for name in NAMES)
    assert rank_correlation(ensemble.predict(fresh)[0], line.predict(fresh)[0]) > 0.97


def test_the_networks_heed_how_noisy_a_reading_is():
    """Half of the rewards are young readings that say nothing of what the networks are to find."""
    columns, fresh = rows(1200), rows(400, seed=1)
    rng = np.random.default_rng(2)
    young = rng.random(1200) < 0.5
    rewards = bent(columns) + np.where(young, 6.0, 0.3) * rng.standard_normal(1200)
    spread = np.where(young, 400.0, 1.0)
    found, blind = (registry.fit("neural_ensemble", columns, rewards, PRIOR, given) for given in (spread, None))
    heard, unheard = (rank_correlation(model.predict(fresh)[0], bent(fresh)) for model in (found, blind))
    assert heard > 0.6
    assert heard > unheard + 0.2
    assert found.noise < 1.0  # of a reading at full age


def test_with_few_scores_the_ensemble_is_exactly_the_line():
    columns = rows(neural.FEWEST - 1)
    line, ensemble = (registry.fit(name, columns, bent(columns), PRIOR) for name in NAMES)
    assert_allclose(ensemble.predict(columns), line.predict(columns))
    assert ensemble.noise == line.noise


def test_the_ensemble_is_less_sure_of_what_it_has_not_seen():
    columns = rows(600)
    found = registry.fit("neural_ensemble", columns, bent(columns), PRIOR)
    line = registry.fit("bayesian_linear", columns, bent(columns), PRIOR)
    strange = 5.0 * rows(50, seed=4)
    assert np.all(found.predict(strange)[1] > line.predict(strange)[1])
    assert found.predict(strange)[1].mean() > 3 * found.predict(columns)[1].mean()


@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_moments_of_the_prediction(name):
    columns = rows(400)
    found = registry.fit(name, columns, bent(columns), PRIOR)
    mean, sd = found.predict(columns[:20])
    draws = found.thompson(columns[:20], 3000, np.random.default_rng(5))
    assert draws.shape == (3000, 20)
    assert_allclose(draws.mean(axis=0), mean, atol=0.03)
    assert_allclose(draws.std(axis=0), sd, rtol=0.12)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rows_give_the_same_model(name):
    columns = rows(120)
    first, second = (registry.fit(name, columns, bent(columns), PRIOR).predict(columns) for _ in range(2))
    assert_allclose(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_scores_that_are_all_equal_teach_nothing(name):
    columns = rows(100)
    found = registry.fit(name, columns, normalise_rewards(np.full(100, 7.0), np.zeros(100)), PRIOR)
    mean, sd = found.predict(columns)
    assert_allclose(mean, 0.0, atol=1e-6)
    assert np.all(np.isfinite(sd))


@pytest.mark.parametrize("name", NAMES)
def test_one_viral_post_does_not_drown_the_rest(name):
    columns = rows(200)
    likes = np.exp(columns[:, 0] + 3.0)
    likes[7] = 1e6
    rewards = normalise_rewards(np.log1p(likes), np.zeros(200))
    assert rewards.max() == 3.0
    fresh = rows(100, seed=1)
    assert rank_correlation(registry.fit(name, columns, rewards, PRIOR).predict(fresh)[0], fresh[:, 0]) > 0.95


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_scores_leave_the_prior_nearly_alone(name, count):
    prior = Prior(np.full(WIDTH, 0.25), np.full(WIDTH, 400.0), np.zeros(WIDTH, dtype=np.int64))
    fresh = rows(20, seed=1)
    mean, sd = registry.fit(name, rows(count), np.full(count, 3.0), prior).predict(fresh)
    assert rank_correlation(mean, fresh.sum(axis=1)) > 0.98
    assert np.all(sd > 0)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_number_counts_for_nothing(name):
    columns = rows(150)
    rewards = columns[:, 0].copy()
    clean = registry.fit(name, columns[2:], rewards[2:], PRIOR)
    columns[:2], rewards[:2] = 50.0, np.nan
    holed = registry.fit(name, columns, rewards, PRIOR)
    assert_allclose(holed.predict(columns[2:]), clean.predict(columns[2:]))
    columns[5, 3], columns[6, 0] = np.nan, np.inf
    assert np.all(np.isfinite(registry.fit(name, columns, rewards, PRIOR).predict(rows(9))))
