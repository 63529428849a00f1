"""PPO, GRPO and ESPO by hand: posts of one or two tokens out of two words."""

import math
from dataclasses import replace

import pytest
import torch

from tests.training.engine.test_algorithms import assert_near, batch
from training.engine.algorithms import espo, grpo, ppo
from training.engine.algorithms.batch import LossParams, clipped_gain

EVEN, LN3 = [0.0, 0.0], math.log(3)  # logits (ln 3, 0) are odds of 3 to 1
FREE = LossParams(beta=0.0, departure_weight=0.0, entropy_weight=0.0)


def test_the_surrogate_clips_gains_and_never_losses():
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.1])
    gain = clipped_gain(ratio, torch.tensor([2.0, 2.0, -2.0, -2.0, 2.0]), 0.2)
    assert_near(gain, [2.4, 1.0, -3.0, -1.6, 2.2], atol=1e-6)


def test_ppo_by_hand():
    # Rewards 2 and 1: advantages ±1 (in units of their root mean square). π = ¾ against π_old = ½: ratio 1.5. The first
    # post's gain is clipped to 1.2, the second's (ratio 0.5, A = −1) to −0.8: −(1.2 − 0.8)/2 = −0.2, and no gradient.
    given = batch([[LN3, 0.0], [LN3, 0.0]], [0, 1], [0, 1], [2.0, 1.0])
    given = replace(given, old=torch.tensor([0.5, 0.5], dtype=torch.float64).log())
    loss, metrics = ppo.loss(given, FREE)
    loss.backward()
    assert_near(loss, -0.2)
    assert_near(given.logits.grad, [EVEN, EVEN])
    assert metrics["ratio_change"] == pytest.approx(0.5)
    assert metrics["clip_share"] == 1.0


def test_the_first_step_of_ppo_is_the_policy_gradient():
    # Ratio 1: d(−ρA/2)/dz of the written token is −A(1 − ½)/2.
    given = batch([EVEN, EVEN], [0, 1], [0, 1], [2.0, 1.0])
    loss, metrics = ppo.loss(given, FREE)
    loss.backward()
    assert_near(loss, 0.0)
    assert_near(given.logits.grad, [[-0.25, 0.25], [-0.25, 0.25]])
    assert (metrics["ratio_change"], metrics["clip_share"]) == (0.0, 0.0)


def test_ppo_sums_a_post_and_averages_posts():
    # Advantages +1 (two tokens) and −1 (one token), all at ratio 1: −(2 − 1)/2.
    given = batch([EVEN] * 3, [0, 1, 1], [0, 0, 1], [3.0, 1.0])
    assert_near(ppo.loss(given, FREE)[0], -0.5)


def test_ppo_prices_the_divergence_of_the_policy_that_wrote():
    # Equal rewards; the policy that wrote was ln 2 above the reference on the first post and not on the second, so
    # rewards − β·ln 2 make the first the worse one, whatever the present policy thinks.
    given = batch([EVEN, EVEN], [0, 0], [0, 1], [1.0, 1.0], reference=[[math.log(0.25), math.log(0.75)], EVEN])
    given = replace(given, old=torch.tensor([0.5, 0.5], dtype=torch.float64).log())
    ppo.loss(given, LossParams(beta=1.0))[0].backward()
    assert given.logits.grad[0, 0] > 0 > given.logits.grad[1, 0]


def test_group_relative_advantages_by_hand():
    # Mean 3, unbiased variance (4 + 1 + 9)/2 = 7.
    assert_near(grpo.group_relative(torch.tensor([1.0, 2.0, 6.0])), [-2 / 7**0.5, -1 / 7**0.5, 3 / 7**0.5], atol=1e-6)
    assert_near(grpo.group_relative(torch.tensor([4.0, 4.0])), [0.0, 0.0])
    assert_near(grpo.group_relative(torch.tensor([4.0])), [0.0])


def test_the_sampled_divergence_by_hand():
    # π₀/π = 2: 2 − ln 2 − 1; π₀/π = ½: ½ + ln 2 − 1; equal: 0.
    own, reference = torch.tensor([0.25, 0.5, 0.3]).log(), torch.tensor([0.5, 0.25, 0.3]).log()
    assert_near(grpo.sampled_divergence(own, reference), [1 - math.log(2), math.log(2) - 0.5, 0.0], atol=1e-6)


def test_grpo_by_hand():
    # Rewards 3 and 1: advantages ±1/√2. The first post's two tokens count half each, so at ratio 1 the gains cancel and
    # the loss is β times the mean divergence: the second post's token has π₀/π = ½, the others 1.
    given = batch([EVEN] * 3, [0, 0, 1], [0, 0, 1], [3.0, 1.0], reference=[EVEN, EVEN, [LN3, 0.0]])
    loss, _ = grpo.loss(given, LossParams(beta=0.4))
    loss.backward()
    assert_near(loss, 0.4 * (math.log(2) - 0.5) / 2)
    # The first post's tokens: −A/2·½·(1 − ½).
    assert_near(given.logits.grad[:2, 0], [-(0.5**0.5) / 8] * 2)


def test_grpo_clips_against_the_policy_that_wrote():
    # As for PPO: gains 1.2·A and −0.8·A with A = 1/√2.
    given = batch([[LN3, 0.0], [LN3, 0.0]], [0, 1], [0, 1], [2.0, 1.0])
    given = replace(given, old=torch.tensor([0.5, 0.5], dtype=torch.float64).log())
    assert_near(grpo.loss(given, FREE)[0], -0.2 * 0.5**0.5)


def test_espo_by_hand():
    # π = ¾ written at π_old = ½ with A = 2, and π = ½ at π_old = ½ with A = −1: −(1.5·ln ¾·2 − ln ½)/2.
    given = batch([[LN3, 0.0], EVEN], [0, 0], [0, 1], [0.0, 0.0])
    advantages = torch.tensor([2.0, -1.0], dtype=torch.float64)
    given = replace(given, old=torch.tensor([0.5, 0.5], dtype=torch.float64).log(), advantages=advantages)
    loss, metrics = espo.loss(given, FREE)
    loss.backward()
    assert_near(loss, -(3 * math.log(0.75) - math.log(0.5)) / 2)
    # The ratio has no gradient: −1.5·2·(1 − ¾)/2 and ½·(1 − ½).
    assert_near(given.logits.grad[:, 0], [-0.375, 0.25])
    assert metrics["ratio_change"] == pytest.approx(0.25)


def test_espo_has_the_regularisers_of_reinforce():
    # Where policy and reference agree, the root's floor is all that is left: 10 · 1e-4.
    given = replace(batch([EVEN], [0], [0], [0.0]), advantages=torch.zeros(1, dtype=torch.float64))
    assert_near(espo.loss(given, LossParams())[0], 10 * 1e-4)
