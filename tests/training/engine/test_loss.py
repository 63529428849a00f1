"""The blockwise cross-entropy equals the plain one, value and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from training.engine.models import loss as module
from training.engine.models.loss import linear_cross_entropy
from training.engine.packing import IGNORED


def test_it_equals_plain_cross_entropy_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 16)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(50, 8, generator=generator, requires_grad=True)
    weight = torch.randn(30, 8, generator=generator, requires_grad=True)
    targets = torch.randint(0, 30, (50,), generator=generator)
    targets[::7] = IGNORED

    (2 * linear_cross_entropy(hidden, weight, targets, torch.float32)).backward()
    ours = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    expected = 2 * cross_entropy(hidden @ weight.t(), targets, ignore_index=IGNORED)
    expected.backward()

    assert_close(2 * linear_cross_entropy(hidden, weight, targets, torch.float32), expected, rtol=0, atol=1e-5)
    assert_close(ours, (hidden.grad, weight.grad), rtol=0, atol=1e-6)


def test_equal_logits_cost_the_logarithm_of_the_vocabulary() -> None:
    loss = linear_cross_entropy(torch.zeros(3, 2), torch.ones(5, 2), torch.tensor([0, 4, IGNORED]), torch.float32)

    assert loss.item() == pytest.approx(math.log(5), abs=1e-6)


def test_nothing_to_score_costs_nothing() -> None:
    hidden = torch.ones(2, 2, requires_grad=True)
    loss = linear_cross_entropy(hidden, torch.ones(5, 2), torch.full((2,), IGNORED), torch.float32)
    loss.backward()

    assert loss.item() == 0.0
    assert hidden.grad is not None
    assert hidden.grad.abs().sum().item() == 0.0
