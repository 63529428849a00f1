"""What an algorithm is handed: N posts as one flat run of T tokens, with both models' logits at every token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PolicyBatch:
    """`logits` and `reference_logits` are (T, V), `tokens` (T,) what was written, `owner` (T,) which of the N posts a
    token is part of, `rewards` (N,), `ended` (N,) whether the post reached its end by itself. Only `logits` carry a
    gradient. `old` are the written tokens' log-probabilities (T,) before the batch's first step, None at that step;
    `advantages` (T,) are a critic's, where there is one. `documents` are the posts as (context ids, written ids).
    """

    logits: Tensor
    reference_logits: Tensor
    tokens: Tensor
    owner: Tensor
    rewards: Tensor
    ended: Tensor
    old: Tensor | None = None
    advantages: Tensor | None = None
    documents: Sequence[tuple[list[int], list[int]]] = ()

    def per_post(self, per_token: Tensor) -> Tensor:
        """Sums (N,) over each post of a quantity given for each token (T,)."""
        return torch.zeros_like(self.rewards).index_add(0, self.owner, per_token.to(self.rewards.dtype))

    def before(self, log_written: Tensor) -> Tensor:
        """`old`, or at the first step `log_written` (T,) itself, without its gradient."""
        return log_written.detach() if self.old is None else self.old


@dataclass(frozen=True)
class LossParams:
    """`beta`: price of a nat of KL; `advantage_clip`: in standard deviations; `ratio_clip`: how far π/π_old may go
    before it counts no more; the two weights are REINFORCE's regularisers.
    """

    beta: float = 0.02
    advantage_clip: float = 3.0
    missing_end_penalty: float = 1.0
    departure_weight: float = 10.0
    entropy_weight: float = 1.0
    ratio_clip: float = 0.2


LossFunction = Callable[[PolicyBatch, LossParams], tuple[Tensor, dict[str, float]]]


def written(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability (T,) of each written token out of (T, V)."""
    return log_probs.gather(1, tokens[:, None])[:, 0]


def divergence(log_policy: Tensor, log_reference: Tensor) -> Tensor:
    """KL(policy ‖ reference) in nats at each token (T,), from whole distributions: less noisy than the sampled
    log-ratio.
    """
    return (log_policy.exp() * (log_policy - log_reference)).sum(dim=1)


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats at each token (T,)."""
    return -(log_probs.exp() * log_probs).sum(dim=1)


def clipped_gain(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """min(ρA, clip(ρ, 1 ± `clip`)·A) of each token (T,): the surrogate of PPO (Schulman et al. 2017, equation 7)."""
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def ratio_change(ratio: Tensor) -> dict[str, float]:
    """`ratio_change`: mean |π/π_old − 1| over the tokens (T,)."""
    return {"ratio_change": float((ratio.detach() - 1).abs().mean())}


def clip_share(ratio: Tensor, clip: float) -> dict[str, float]:
    """`clip_share`: share of the tokens (T,) whose ratio lies outside of 1 ± `clip`."""
    return {"clip_share": float(((ratio.detach() - 1).abs() > clip).float().mean())}


def standard_metrics(batch: PolicyBatch, log_policy: Tensor, log_reference: Tensor, loss: Tensor) -> dict[str, float]:
    """`loss`, `kl` (nats per post) and `entropy` (nats per token)."""
    kl = batch.per_post(divergence(log_policy.detach(), log_reference)).mean()
    return {"loss": float(loss.detach()), "kl": float(kl), "entropy": float(entropy(log_policy.detach()).mean())}
