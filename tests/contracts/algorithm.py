"""What every online algorithm must do, whoever wrote it."""

from __future__ import annotations

import math

import torch

from training.engine.algorithms import Algorithm
from training.engine.algorithms.batch import LossParams, PolicyBatch


def check_algorithm(algorithm: Algorithm) -> None:
    """Its loss is a scalar with a finite gradient, and its metrics are plain numbers with the standard names."""
    logits = torch.tensor([[0.0, 1.0], [0.5, 0.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    batch = PolicyBatch(
        logits=logits,
        reference_logits=logits.detach().clone(),
        tokens=torch.tensor([0, 1, 1]),
        owner=torch.tensor([0, 0, 1]),
        rewards=torch.tensor([1.0, -1.0], dtype=torch.float64),
        ended=torch.tensor([True, True]),
    )
    loss, metrics = algorithm.loss()(batch, LossParams())
    loss.backward()
    assert loss.shape == ()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
    assert metrics.keys() >= {"loss", "kl", "entropy"}
    assert all(math.isfinite(value) for value in metrics.values())
