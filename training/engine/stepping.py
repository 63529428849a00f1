"""Gradients and losses of rows, in as many parts as fit into memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from training.engine.errors import OutOfMemory
from training.engine.models.causal import CausalLanguageModel
from training.engine.packing import PackedRows

MOST_HALVINGS = 3


@dataclass(frozen=True)
class Halving:
    """How many rows are computed at once (0: all of a step), and how often memory ran out before it was so few."""

    rows: int = 0
    times: int = 0

    def again(self, rows_of_step: int, problem: BaseException | None) -> Halving:
        """Half as many rows at once. Raises `OutOfMemory` when that has not helped three times, or cannot."""
        present = min(self.rows or rows_of_step, rows_of_step)
        if self.times == MOST_HALVINGS or present <= 1:
            raise OutOfMemory(
                f"Memory ran out, even with {present} row(s) computed at once. Choose a smaller model or a smaller "
                "“context”, set “checkpoint_activations”, or set “method” to “lora”."
            ) from problem
        return replace(self, rows=math.ceil(present / 2), times=self.times + 1)

    def note(self, step: int) -> str:
        """What happened, for people."""
        return f"Memory ran out at step {step}: since then {self.rows} rows are computed at once."


def accumulate(model: CausalLanguageModel, rows: PackedRows, tokens: int, at_once: int) -> float:
    """Adds the gradient of `rows` to the parameters' and returns their part of the step's loss.

    Each part of `at_once` rows (0: all) counts by its scored tokens, out of the `tokens` that the whole step scores, so
    that the sum is the gradient of the mean over the step, however it is divided.
    """
    model.network.train()
    total = 0.0
    for part in _parts(rows, at_once):
        if share := part.scored_tokens / max(tokens, 1):
            loss = model.loss(part) * share
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
    return total


@torch.no_grad()
def measure_nats(model: CausalLanguageModel, rows: PackedRows, at_once: int) -> float:
    """The nats of all scored tokens of `rows`, computed `at_once` rows at a time (0: all)."""
    model.network.eval()
    total = 0.0
    for part in _parts(rows, at_once):
        if tokens := part.scored_tokens:
            total += float(model.loss(part)) * tokens
    return total


def _parts(rows: PackedRows, at_once: int) -> Iterator[PackedRows]:
    for first in range(0, len(rows), at_once or max(len(rows), 1)):
        yield rows[first : first + (at_once or len(rows))]


def compute_alone(model: CausalLanguageModel, row: PackedRows, trained: Iterable[torch.nn.Parameter]) -> float:
    """The loss of one post, NaN unless its gradient is finite too; the gradient is left in the parameters."""
    model.network.train()
    loss = model.loss(row)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    finite = bool(torch.isfinite(torch.nn.utils.get_total_norm(gradients)))
    return float(loss.detach()) if finite else math.nan
