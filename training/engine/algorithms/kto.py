"""Kahneman–Tversky optimisation (Ethayarajh et al. 2024, equation 8) on texts that people approved or declined."""

from __future__ import annotations

import torch
from torch import Tensor

from training.engine.algorithms.batch import LossParams, PolicyBatch, standard_metrics
from training.engine.algorithms.dpo import BETA, log_ratios


def weights(liked: Tensor) -> Tensor:
    """Weight of each post (N,): both kinds together weigh the same, however unequal in number (the paper's advice on
    λ), the mean is 1.
    """
    total = liked.numel()
    share = torch.where(liked, liked.sum(), total - liked.sum()) * 2
    return total / share


def loss(batch: PolicyBatch, params: LossParams) -> tuple[Tensor, dict[str, float]]:
    """Mean of λ(1 − v) with v = σ(β(r − z₀)) for approved and σ(β(z₀ − r)) for declined posts, r = ln(π/π₀) and z₀ =
    max(0, mean r) without gradient; and its metrics. Approved posts have a reward above 0.

    The paper estimates z₀ on mismatched prompts and answers; posts have no prompts, so the batch's own do.
    """
    log_policy = torch.log_softmax(batch.logits, dim=1)
    log_reference = torch.log_softmax(batch.reference_logits, dim=1)
    ratios = log_ratios(batch, log_policy, log_reference)
    zero = ratios.detach().mean().clamp(min=0)
    liked = batch.rewards > 0
    worth = torch.sigmoid(BETA * torch.where(liked, ratios - zero, zero - ratios))
    value = (weights(liked).to(worth.dtype) * (1 - worth)).mean()
    return value, standard_metrics(batch, log_policy, log_reference, value)
