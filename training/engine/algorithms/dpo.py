"""Direct preference optimisation (Rafailov et al. 2023, equation 7) on pairs of texts of which people preferred one."""

from __future__ import annotations

import torch
from torch import Tensor

from training.engine.algorithms.batch import LossParams, PolicyBatch, standard_metrics, written

BETA = 0.1
"""How strongly the policy is tied to the reference, per nat of log-ratio: the paper's."""


def log_ratios(batch: PolicyBatch, log_policy: Tensor, log_reference: Tensor) -> Tensor:
    """ln(π/π₀) of each post (N,)."""
    return batch.per_post(written(log_policy, batch.tokens) - written(log_reference, batch.tokens))


def loss(batch: PolicyBatch, params: LossParams) -> tuple[Tensor, dict[str, float]]:
    """−mean over pairs of ln σ(β(ln π/π₀ of the preferred − that of the other)), and its metrics with `accuracy`, the
    share of pairs in the right order.

    The batch's first half are the preferred texts, its second half the others in the same order.
    """
    log_policy = torch.log_softmax(batch.logits, dim=1)
    log_reference = torch.log_softmax(batch.reference_logits, dim=1)
    preferred, other = log_ratios(batch, log_policy, log_reference).chunk(2)
    margins = BETA * (preferred - other)
    value = -torch.nn.functional.logsigmoid(margins).mean()
    accuracy = {"accuracy": float((margins.detach() > 0).double().mean())}
    return value, standard_metrics(batch, log_policy, log_reference, value) | accuracy
