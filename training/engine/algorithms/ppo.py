"""PPO's clipped objective (Schulman et al. 2017) on published posts, with a leave-one-out baseline in place of a critic
and KL to the reference in the reward (Ziegler et al. 2019).
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
from training.engine.algorithms.rloo import leave_one_out, scaled_advantages


def loss(batch: PolicyBatch, params: LossParams) -> tuple[Tensor, dict[str, float]]:
    """−mean over posts of Σₜ min(ρₜA, clip(ρₜ, 1 ± ε)A), with ρ = π/π_old and A from reward − β·ln(π_old/π₀) − penalty
    for a missing end, the same at every step of a batch; and its metrics.
    """
    log_policy = torch.log_softmax(batch.logits, dim=1)
    log_reference = torch.log_softmax(batch.reference_logits, dim=1)
    log_written = written(log_policy, batch.tokens)
    old = batch.before(log_written)
    distance = batch.per_post(old - written(log_reference, batch.tokens))
    penalty = params.missing_end_penalty * (~batch.ended).to(distance.dtype)
    advantages = scaled_advantages(
        leave_one_out(batch.rewards - params.beta * distance - penalty), params.advantage_clip
    )
    ratio = (log_written - old).exp()
    value = -batch.per_post(clipped_gain(ratio, advantages[batch.owner], params.ratio_clip)).mean()
    change = ratio_change(ratio) | clip_share(ratio, params.ratio_clip)
    return value, standard_metrics(batch, log_policy, log_reference, value) | change
