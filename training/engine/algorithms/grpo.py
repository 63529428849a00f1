"""Group-relative policy optimisation (Shao et al. 2024, "DeepSeekMath", equations 3 and 4).

A group is what was drawn for one prompt; posts have none, so a batch is one group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.engine.algorithms.batch import (
    LossParams,
    PolicyBatch,
    clip_share,
    clipped_gain,
    ratio_change,
    standard_metrics,
    written,
)


def group_relative(rewards: Tensor) -> Tensor:
    """(r − mean)/sd of the group's rewards (N,), sd unbiased; zeros when they are all equal or there is only one."""
    spread = rewards.std() if rewards.numel() > 1 else rewards.new_zeros(())
    return torch.zeros_like(rewards) if spread == 0 else (rewards - rewards.mean()) / spread


def sampled_divergence(log_written: Tensor, log_reference: Tensor) -> Tensor:
    """π₀/π − ln(π₀/π) − 1 at each written token (T,): unbiased for KL(π ‖ π₀) and never negative (Schulman 2020,
    "Approximating KL divergence", k3).
    """
    log_ratio = log_reference - log_written
    return log_ratio.exp() - log_ratio - 1


def loss(batch: PolicyBatch, params: LossParams) -> tuple[Tensor, dict[str, float]]:
    """−mean over posts of the mean over their tokens of min(ρA, clip(ρ, 1 ± ε)A) − β·k3; and its metrics."""
    log_policy = torch.log_softmax(batch.logits, dim=1)
    log_reference = torch.log_softmax(batch.reference_logits, dim=1)
    log_written = written(log_policy, batch.tokens)
    ratio = (log_written - batch.before(log_written)).exp()
    penalty = params.missing_end_penalty * (~batch.ended).to(batch.rewards.dtype)
    advantages = group_relative(batch.rewards - penalty)[batch.owner]
    distance = sampled_divergence(log_written, written(log_reference, batch.tokens))
    gain = clipped_gain(ratio, advantages, params.ratio_clip) - params.beta * distance
    lengths = batch.per_post(torch.ones_like(gain))
    value = -(batch.per_post(gain) / lengths).mean()
    change = ratio_change(ratio) | clip_share(ratio, params.ratio_clip)
    return value, standard_metrics(batch, log_policy, log_reference, value) | change
