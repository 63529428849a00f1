"""Early-stopping policy optimisation, the first Kilroy's actor-critic step: importance-weighted log-likelihood times a
critic's advantages, repeated on one batch until the policy has moved enough.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.engine.algorithms.batch import LossParams, PolicyBatch, ratio_change, standard_metrics, written
from training.engine.algorithms.reinforce import departure, entropy_change

RATIO_CHANGE = 0.25
"""Mean |π/π_old − 1| at which a batch is done with."""


def loss(batch: PolicyBatch, params: LossParams) -> tuple[Tensor, dict[str, float]]:
    """−mean over tokens of sg[π/π_old]·log π·A, with REINFORCE's regularisers, and its metrics (`ratio_change` says
    when to stop). Without a critic's advantages each token has its post's reward.
    """
    log_policy = torch.log_softmax(batch.logits, dim=1)
    log_reference = torch.log_softmax(batch.reference_logits, dim=1)
    log_written = written(log_policy, batch.tokens)
    ratio = (log_written.detach() - batch.before(log_written)).exp()
    advantages = batch.rewards[batch.owner] if batch.advantages is None else batch.advantages
    value = -(ratio * log_written * advantages).mean()
    value = value + params.departure_weight * departure(log_policy, log_reference)
    value = value + params.entropy_weight * entropy_change(log_policy, log_reference)
    return value, standard_metrics(batch, log_policy, log_reference, value) | ratio_change(ratio)
