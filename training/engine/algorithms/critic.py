"""The critic of the first Kilroy's actor-critic: a value for every position of a post, learned from published posts.

The first Kilroy's critic was a network of its own. This one is a linear head on the frozen reference's states: it fits
in milliseconds, and with the tens of posts there are a whole network only learns them by heart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from training.engine import checkpoints
from training.engine.models.causal import CausalLanguageModel

GAMMA, LAMBDA = 0.99, 0.95
LEARNING_RATE = 1e-2
ITERATIONS = 100
FILE = "critic.tensors"
_ROWS = 64


def advantages(rewards: Tensor, values: Tensor, gamma: float = GAMMA, decay: float = LAMBDA) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016) of one post: Aₜ = δₜ + γλ·Aₜ₊₁ with δₜ = rₜ + γVₜ₊₁ − Vₜ,
    and V = 0 after the last position. `rewards`, `values` and the result are (positions,).
    """
    following = torch.cat([values[1:], values.new_zeros(1)])
    delta = rewards + gamma * following - values
    total, found = values.new_zeros(()), []
    for error in delta.flip(0):
        total = error + gamma * decay * total
        found.append(total)
    return torch.stack(found[::-1])


def batch_advantages(rewards: Tensor, values: Tensor, inside: Tensor) -> Tensor:
    """`advantages` of posts (N, positions), each with its reward (N,) at its last position; 0 where not `inside`."""
    last = inside.sum(dim=1) - 1
    delta = GAMMA * torch.nn.functional.pad(values[:, 1:] * inside[:, 1:], (0, 1)) - values
    delta = (delta + torch.nn.functional.one_hot(last, values.shape[1]) * rewards[:, None]) * inside
    total, found = torch.zeros_like(rewards), []
    for column in delta.flip(1).unbind(dim=1):
        total = column + GAMMA * LAMBDA * total
        found.append(total)
    return torch.stack(found[::-1], dim=1)


@dataclass(frozen=True)
class States:
    """What the reference makes of documents: `states` (N, positions, width) and which positions are `inside` (N,
    positions). The state at a position knows the tokens up to and with it.
    """

    states: Tensor
    inside: Tensor


@torch.no_grad()
def read(model: CausalLanguageModel, documents: Sequence[tuple[list[int], list[int]]]) -> States:
    """The states of the documents (context ids, written ids): the middle and the last layer, side by side.

    The end token gets the state before it: to a model that reads each post on its own it is the beginning of the next,
    and says nothing of this one.
    """
    whole = [[*context, *own] for context, own in documents]
    ids = torch.zeros((len(whole), max(map(len, whole))), dtype=torch.long)
    inside = torch.zeros(ids.shape, dtype=torch.bool)
    for row, document in enumerate(whole):
        ids[row, : len(document)] = torch.tensor(document)
        inside[row, : len(document)] = True
    parts = []
    with model.autocast():
        for start in range(0, len(whole), _ROWS):
            part = ids[start : start + _ROWS].to(model.device)
            found = model.network.base_model(input_ids=part, use_cache=False, output_hidden_states=True)
            layers = [found.hidden_states[len(found.hidden_states) // 2], found.last_hidden_state]
            # Each layer on its own scale, so that one learning rate serves both.
            parts.append(torch.cat([torch.nn.functional.layer_norm(x.float(), x.shape[-1:]) for x in layers], dim=-1))
    states = torch.cat(parts)
    for row, document in enumerate(whole):
        if document[-1] == model.tokenizer.end_id and len(document) > 1:
            states[row, len(document) - 1] = states[row, len(document) - 2]
    return States(states, inside.to(model.device))


class Critic:
    """V(≤ t) = w·state/√width + b: a step of Adam then changes values alike whatever the width."""

    def __init__(self, width: int) -> None:
        self.weight = torch.zeros(width, requires_grad=True)
        self.bias = torch.zeros(1, requires_grad=True)

    def values(self, read: States) -> Tensor:
        """(N, positions)"""
        weight = self.weight.to(read.states.device) / math.sqrt(self.weight.numel())
        return read.states @ weight + self.bias.to(read.states.device)

    def fit(self, read: States, rewards: Tensor) -> float:
        """100 iterations of Adam on the mean of A² over all positions, γVₜ₊₁ not held fixed; returns the last loss.

        The first Kilroy stopped as soon as the loss was below 0.5 and steady; here iterations cost nothing.
        """
        optimizer = torch.optim.Adam([self.weight, self.bias], lr=LEARNING_RATE)
        for _ in range(ITERATIONS):
            optimizer.zero_grad()
            loss = batch_advantages(rewards, self.values(read), read.inside)[read.inside].square().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def improvements(self, read: States) -> Tensor:
        """V(≤ t) − V(BOS) at every written token, (T,) in the order of `PolicyBatch.tokens`; posts without a prompt."""
        values = self.values(read)
        return (values[:, 1:] - values[:, :1])[read.inside[:, 1:]]

    @torch.no_grad()
    def estimates(self, read: States, rewards: Tensor) -> Tensor:
        """Generalised advantage estimates at every written token, (T,)."""
        return batch_advantages(rewards, self.values(read), read.inside)[:, 1:][read.inside[:, 1:]]

    def save(self, folder: Path) -> None:
        """Leaves the critic beside a model's weights: it is stored, and rolled back, with them."""
        checkpoints.write_tensors(folder / FILE, {"weight": self.weight, "bias": self.bias})

    @classmethod
    def load(cls, folder: Path, width: int) -> Critic:
        """The critic of a model's folder; a new one, which values everything at 0, where there is none."""
        critic = cls(width)
        if (folder / FILE).exists():
            stored = load_file(folder / FILE)
            with torch.no_grad():
                critic.weight.copy_(stored["weight"])
                critic.bias.copy_(stored["bias"])
        return critic
