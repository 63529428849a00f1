"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from training.engine import checkpoints
from training.engine.types import FinetuneConfig

DECAY = 0.3
"""Share of the steps over which a trapezoid falls."""
MOMENTUM = 0.9


class Optimizers:
    """The optimizer of a configuration, over the parameters of `network` that are trained.

    `adamw` (Loshchilov & Hutter 2019), `muon` (Jordan et al. 2024) for hidden matrices with AdamW for the rest,
    `adafactor` (Shazeer & Stern 2018), or `sgd` with momentum. Weight decay is on matrices only. `trained` holds the
    parameters by name.
    """

    def __init__(self, network: Any, config: FinetuneConfig) -> None:
        self.trained: dict[str, torch.nn.Parameter] = {
            name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad
        }
        matrices = [p for p in self.trained.values() if p.ndim >= 2]
        vectors = [p for p in self.trained.values() if p.ndim < 2]
        rate, decay = config.learning_rate, config.weight_decay
        hidden: list[torch.nn.Parameter] = []
        if config.optimizer == "muon":
            tables = _tables(network)
            hidden = [p for p in matrices if id(p) not in tables and p.ndim == 2]
            chosen = {id(p) for p in hidden}
            matrices = [p for p in matrices if id(p) not in chosen]
        groups = [
            {"params": group, "weight_decay": size} for group, size in ((matrices, decay), (vectors, 0.0)) if group
        ]
        self._optimizers: list[torch.optim.Optimizer] = []
        if hidden:
            # The factor keeps the updates of Muon as large as AdamW's, so that one learning rate fits both.
            self._optimizers.append(
                torch.optim.Muon(hidden, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            )
        if groups:
            self._optimizers.append(_one(config.optimizer, groups, rate))

    def step(self, learning_rate: float) -> None:
        """Updates the parameters by their gradients, and forgets these."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
        # Fused kernels leave no trace of their writing, and what was made of the old weights would go on being used.
        torch.autograd.graph.increment_version(list(self.trained.values()))
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Leaves no gradient behind."""
        for parameter in self.trained.values():
            parameter.grad = None

    def pack(self) -> dict[str, torch.Tensor]:
        """The tensors of a checkpoint."""
        packed: dict[str, torch.Tensor] = {}
        for index, optimizer in enumerate(self._optimizers):
            packed |= checkpoints.pack_optimizer(f"optimizer{index}", optimizer)
        return packed

    def unpack(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Goes back to what `pack` gave."""
        for index, optimizer in enumerate(self._optimizers):
            checkpoints.unpack_optimizer(f"optimizer{index}", optimizer, tensors)


def _one(name: str, groups: list[dict[str, Any]], rate: float) -> torch.optim.Optimizer:
    if name == "adafactor":
        return torch.optim.Adafactor(groups, lr=rate)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM, fused=True)
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)


def _tables(network: Any) -> set[int]:
    """Embeddings and the output layer, whose rows are of one token each: Muon is not for them."""
    tables = {id(p) for m in network.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    return tables | {id(p) for p in network.get_output_embeddings().parameters()}


def schedule(config: FinetuneConfig, step: int, total: int) -> float:
    """Share of the peak learning rate at `step` of `total`: a linear warm-up, then by name.

    `linear` and `cosine` fall to 0 over what follows, `trapezoid` over the last 30 % (Hägele et al. 2024), `constant`
    never.
    """
    warmup = min(config.warmup_steps, max(total // 5, 1))
    rising = (step + 1) / max(warmup, 1)
    left = (total - step) / max(total - warmup, 1)
    if config.schedule == "constant":
        falling = 1.0
    elif config.schedule == "cosine":
        falling = 0.5 - 0.5 * math.cos(math.pi * min(left, 1.0))
    elif config.schedule == "trapezoid":
        falling = (total - step) / max(DECAY * total, 1.0)
    else:
        falling = left
    return min(rising, falling, 1.0)
