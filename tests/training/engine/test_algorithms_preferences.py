"""DPO and KTO by hand, with β = 0.1."""

import math

import pytest
import torch

from tests.training.engine.test_algorithms import assert_near, batch
from training.engine.algorithms import dpo, kto
from training.engine.algorithms.batch import LossParams

EVEN, LN3 = [0.0, 0.0], math.log(3)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_dpo_by_hand():
    # One pair. The preferred token has gone from ½ to ¾ (ln 1.5 above the reference), the other from ½ to ¼ (−ln 2):
    # margin 0.1·ln 3.
    given = batch([[LN3, 0.0], [LN3, 0.0]], [0, 1], [0, 1], [1.0, -1.0], reference=[EVEN, EVEN])
    loss, metrics = dpo.loss(given, LossParams())
    loss.backward()
    assert_near(loss, -math.log(sigmoid(0.1 * LN3)))
    # d/dz of the written token: ∓β·σ(−margin)·(1 − π).
    steep = 0.1 * sigmoid(-0.1 * LN3)
    assert_near(given.logits.grad[:, 0], [-steep * 0.25, steep * -0.75])
    assert metrics["accuracy"] == 1.0


def test_dpo_pairs_the_halves_of_the_batch_in_order():
    # Preferred: log-ratios ln 1.5 and 0; others: 0 and ln 1.5. One pair in order, one not.
    given = batch([[LN3, 0.0], EVEN, EVEN, [LN3, 0.0]], [0] * 4, [0, 1, 2, 3], [1.0, 1.0, -1.0, -1.0], [EVEN] * 4)
    loss, metrics = dpo.loss(given, LossParams())
    margin = 0.1 * math.log(1.5)
    assert_near(loss, -(math.log(sigmoid(margin)) + math.log(sigmoid(-margin))) / 2)
    assert metrics["accuracy"] == 0.5


def test_dpo_counts_every_token_of_a_post():
    given = batch([[LN3, 0.0], [LN3, 0.0], EVEN], [0, 0, 0], [0, 0, 1], [1.0, -1.0], [EVEN] * 3)
    assert_near(dpo.loss(given, LossParams())[0], -math.log(sigmoid(0.2 * math.log(1.5))))


def test_kto_by_hand():
    # Approved at log-ratio ln 1.5, declined at −ln 2: their mean is below 0, so z₀ = 0.
    given = batch([[LN3, 0.0], [LN3, 0.0]], [0, 1], [0, 1], [1.0, -1.0], reference=[EVEN, EVEN])
    loss, _ = kto.loss(given, LossParams())
    loss.backward()
    liked, disliked = sigmoid(0.1 * math.log(1.5)), sigmoid(0.1 * math.log(2))
    assert_near(loss, (1 - liked + 1 - disliked) / 2)
    slopes = [-0.1 * liked * (1 - liked) * 0.25, 0.1 * disliked * (1 - disliked) * -0.75]
    assert_near(given.logits.grad[:, 0], [slope / 2 for slope in slopes])


def test_kto_measures_from_the_mean_divergence():
    # Approved at ln 1.5, declined at 0: z₀ is half of ln 1.5, so both are worth σ(0.1·½·ln 1.5).
    given = batch([[LN3, 0.0], EVEN], [0, 0], [0, 1], [1.0, -1.0], reference=[EVEN, EVEN])
    assert_near(kto.loss(given, LossParams())[0], 1 - sigmoid(0.05 * math.log(1.5)))


def test_kto_weighs_both_kinds_the_same():
    assert_near(kto.weights(torch.tensor([True, True, True, False])).double(), [2 / 3, 2 / 3, 2 / 3, 2.0], atol=1e-6)


@pytest.mark.parametrize("module", [dpo, kto])
def test_preferences_are_learned(module):
    """Two posts of one token each; people like the first."""
    table = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([table], lr=0.1)
    for _ in range(30):
        given = batch([EVEN, EVEN], [0, 1], [0, 1], [1.0, -1.0])
        given = type(given)(**{**vars(given), "logits": table.expand(2, 2)})
        optimizer.zero_grad()
        module.loss(given, LossParams())[0].backward()
        optimizer.step()
    assert float(torch.softmax(table.detach(), dim=1)[0, 0]) > 0.95
