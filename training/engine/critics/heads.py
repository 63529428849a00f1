"""A handful of small networks side by side on fixed features, each trained on its own weighting of the rows.

What they disagree on is what the rows do not settle (deep ensembles: Lakshminarayanan et al. 2017; weightings: the
Bayesian bootstrap, Rubin 1981).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from training.engine.features import FloatArray

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Outputs (M, n, K) and targets (n, …) → the loss of each row (M, n)."""

PARTS = ("line", "bias", "inner", "inner_bias", "outer")
_LEARNING_RATE = 5e-3
_LOOK_EVERY = 5
_PATIENCE = 8


@dataclass(frozen=True)
class Shape:
    """How the networks are built and held back: `decay` is AdamW's, which keeps small data from being learned by
    heart.
    """

    members: int = 6
    hidden: int = 24
    outputs: int = 1
    decay: float = 0.3
    max_steps: int = 200


@dataclass(frozen=True)
class Heads:
    """`parts` by name, each with a first dimension of M: a line plus one hidden layer of tanh units."""

    parts: dict[str, torch.Tensor]

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Outputs (M, n, K) for features (n, D)."""
        p = self.parts
        inner = torch.tanh(features @ p["inner"] + p["inner_bias"])
        return features @ p["line"] + p["bias"] + inner @ p["outer"]

    @torch.no_grad()
    def outputs(self, features: FloatArray) -> FloatArray:
        """`__call__` of plain arrays."""
        return np.asarray(self(torch.tensor(features, dtype=torch.float32)).double().numpy())


def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(y − ŷ)²/v for targets (n, 2): y, and how many times the common noise variance v it has."""
    return (outputs[:, :, 0] - targets[:, 0]) ** 2 / targets[:, 1]


def cross_entropy(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """−log softmax of the label's output, for labels (n,)."""
    return -functional.log_softmax(outputs, dim=2).gather(2, labels.expand(outputs.shape[0], -1)[:, :, None])[:, :, 0]


def best_steps(
    train: tuple[FloatArray, torch.Tensor], judge: tuple[FloatArray, torch.Tensor], loss: Loss, shape: Shape, seed: int
) -> int:
    """After how many steps the mean of the networks' outputs is best on the rows to `judge` by; 0 when none helps."""
    judged, targets = torch.tensor(judge[0], dtype=torch.float32), judge[1]
    best, lowest, stale = 0, float("inf"), 0

    def look(step: int, heads: Heads) -> bool:
        nonlocal best, lowest, stale
        if step % _LOOK_EVERY:
            return True
        with torch.no_grad():
            found = float(loss(heads(judged).mean(dim=0, keepdim=True), targets).mean())
        best, lowest, stale = (step, found, 0) if found < lowest else (best, lowest, stale + 1)
        return stale < _PATIENCE

    _train(train, loss, shape, seed, shape.max_steps, look)
    return best


def train(rows: tuple[FloatArray, torch.Tensor], loss: Loss, shape: Shape, seed: int, steps: int) -> Heads:
    """Networks trained for `steps` full-batch steps; after none of them every output is 0."""
    return _train(rows, loss, shape, seed, steps, lambda step, heads: True)


def _train(
    rows: tuple[FloatArray, torch.Tensor],
    loss: Loss,
    shape: Shape,
    seed: int,
    steps: int,
    go_on: Callable[[int, Heads], bool],
) -> Heads:
    features, targets = torch.tensor(rows[0], dtype=torch.float32), rows[1]
    draw = torch.Generator().manual_seed(seed)
    heads = _fresh(features.shape[1], shape, draw)
    weights = torch.empty(shape.members, len(targets)).exponential_(generator=draw)
    optimizer = torch.optim.AdamW(list(heads.parts.values()), lr=_LEARNING_RATE, weight_decay=shape.decay)
    for step in range(steps):
        if not go_on(step, heads):
            break
        optimizer.zero_grad()
        (loss(heads(features), targets) * weights).mean(dim=1).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    else:
        go_on(steps, heads)
    return Heads({name: part.detach() for name, part in heads.parts.items()})


def _fresh(width: int, shape: Shape, draw: torch.Generator) -> Heads:
    members, hidden, outputs = shape.members, shape.hidden, shape.outputs
    parts = {
        "line": torch.zeros(members, width, outputs),
        "bias": torch.zeros(members, 1, outputs),
        "inner": torch.randn(members, width, hidden, generator=draw) / max(1, width) ** 0.5,
        "inner_bias": torch.zeros(members, 1, hidden),
        "outer": torch.zeros(members, hidden, outputs),
    }
    return Heads({name: part.requires_grad_() for name, part in parts.items()})
