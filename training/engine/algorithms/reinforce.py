"""REINFORCE as the first Kilroy did it: one full-batch step on published posts, held near the start by two
regularisers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.engine.algorithms.batch import LossParams, PolicyBatch, divergence, entropy, standard_metrics, written

_UNDER_ROOT = 1e-8


def departure(log_policy: Tensor, log_reference: Tensor) -> Tensor:
    """Mean over tokens of √(JSD₂ + 1e-8), the Jensen–Shannon distance to base 2 (Lin 1991) of distributions (T, V)."""
    middle = torch.logaddexp(log_policy, log_reference) - math.log(2)
    jsd = (divergence(log_policy, middle) + divergence(log_reference, middle)) / (2 * math.log(2))
    # Rounding can take equal distributions just below 0, where the root has no value.
    return (jsd.clamp(min=0.0) + _UNDER_ROOT).sqrt().mean()


def entropy_change(log_policy: Tensor, log_reference: Tensor) -> Tensor:
    """Mean over tokens of |H(π) − H(π₀)| / ln V."""
    return (entropy(log_policy) - entropy(log_reference)).abs().mean() / math.log(log_policy.shape[1])


def loss(batch: PolicyBatch, params: LossParams) -> tuple[Tensor, dict[str, float]]:
    """−(1/N) Σ rₙ log π(postₙ) + departure and entropy regularisers, and its metrics. Rewards come scaled by the
    window.
    """
    log_policy = torch.log_softmax(batch.logits, dim=1)
    log_reference = torch.log_softmax(batch.reference_logits, dim=1)
    value = -(batch.rewards * batch.per_post(written(log_policy, batch.tokens))).mean()
    value = value + params.departure_weight * departure(log_policy, log_reference)
    value = value + params.entropy_weight * entropy_change(log_policy, log_reference)
    return value, standard_metrics(batch, log_policy, log_reference, value)
