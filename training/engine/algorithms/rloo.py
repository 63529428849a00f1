"""REINFORCE with a leave-one-out baseline (Kool et al. 2019; RLOO in Ahmadian et al. 2024), KL to the reference in the
reward.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.engine.algorithms.batch import LossParams, PolicyBatch, standard_metrics, written


def leave_one_out(rewards: Tensor) -> Tensor:
    """Each reward (N,) minus the mean of the others; zeros for a single one."""
    count = rewards.numel()
    return (rewards - rewards.mean()) * count / (count - 1) if count > 1 else torch.zeros_like(rewards)


def scaled_advantages(advantages: Tensor, clip: float) -> Tensor:
    """Advantages (N,) in units of their root mean square, clipped at ±`clip`; all zero stays zero."""
    scale = advantages.square().mean().sqrt()
    return torch.zeros_like(advantages) if scale == 0 else (advantages / scale).clamp(-clip, clip)


def loss(batch: PolicyBatch, params: LossParams) -> tuple[Tensor, dict[str, float]]:
    """−mean over posts of A · log π(post), with A from reward − β·ln(π/π₀) − penalty for a missing end; and its
    metrics.
    """
    log_policy = torch.log_softmax(batch.logits, dim=1)
    log_reference = torch.log_softmax(batch.reference_logits, dim=1)
    log_post = batch.per_post(written(log_policy, batch.tokens))
    ratio = log_post.detach() - batch.per_post(written(log_reference, batch.tokens))
    penalty = params.missing_end_penalty * (~batch.ended).to(ratio.dtype)
    advantages = scaled_advantages(leave_one_out(batch.rewards - params.beta * ratio - penalty), params.advantage_clip)
    value = -(advantages * log_post).mean()
    return value, standard_metrics(batch, log_policy, log_reference, value)
