"""Cross-entropy of an output layer without ever holding all logits at once."""

from __future__ import annotations

from typing import Any

import torch

from training.engine.packing import IGNORED

CHUNK = 512
"""Tokens per block: with a vocabulary of 8,192 its logits take 16 MiB, small enough to be reused by the allocator."""


class _LinearCrossEntropy(torch.autograd.Function):
    """Loss and both gradients block by block in the forward pass, where softmax(z) − onehot(y) is at hand."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, compute: torch.dtype
    ) -> torch.Tensor:
        count = max(int((targets != IGNORED).sum()), 1)
        low_weight = weight.to(compute)
        low_hidden = hidden.to(compute)
        hidden_grad = torch.empty_like(low_hidden)
        weight_grad = torch.zeros_like(weight)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, hidden.shape[0], CHUNK):
            block = slice(start, start + CHUNK)
            kept = targets[block] != IGNORED
            labels = targets[block].clamp(min=0)[:, None]
            log_probs = torch.log_softmax((low_hidden[block] @ low_weight.t()).float(), dim=-1)
            total -= log_probs.gather(1, labels)[:, 0].mul_(kept).sum()
            gradient = log_probs.exp_()
            gradient.scatter_add_(1, labels, torch.full_like(labels, -1, dtype=gradient.dtype))
            gradient.mul_(kept[:, None] / count)
            low_gradient = gradient.to(compute)
            hidden_grad[block] = low_gradient @ low_weight
            weight_grad += low_gradient.t() @ low_hidden[block]
        ctx.save_for_backward(hidden_grad.to(hidden.dtype), weight_grad)
        return total / count

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        return hidden_grad * gradient, weight_grad * gradient, None, None


def linear_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, compute: torch.dtype
) -> torch.Tensor:
    """Mean negative log-likelihood in nats of `targets` under softmax(hidden · weightᵀ).

    `hidden` [tokens, width], `weight` [vocabulary, width], `targets` [tokens] with `IGNORED` where nothing is scored;
    products are taken in `compute`, the softmax in float32.
    """
    loss: torch.Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, compute)  # type: ignore[no-untyped-call]
    return loss
