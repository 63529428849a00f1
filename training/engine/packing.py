"""Many short posts in one row, none of which can see another.

A document is `[end, t1, …, tn, end]`. Its first n+1 tokens are inputs, its last n+1 are the targets, so no document is
asked to predict the start of the next. Boundaries are told by `position_ids` alone, which restart at 0: transformers
derives the block-diagonal mask from them, and silently does not when an `attention_mask` of ones is passed too. Never
pass one. Nor does it for every architecture (OPT, BLOOM, …): ask `keeps_apart`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from training.engine.models.causal import CausalLanguageModel

IGNORED = -100
"""The target of a position that is not scored."""

OPEN_ROWS = 16
TOLERANCE = 1e-4
"""How far a document's hidden states may move, as a share of the largest, for what else is in its row: rounding."""


@dataclass(frozen=True)
class PackedRows:
    """`input_ids`, `position_ids` and `targets`, int64 [rows, context]; targets are `IGNORED` at the padding."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    targets: torch.Tensor

    @property
    def scored_tokens(self) -> int:
        """How many targets count."""
        return int((self.targets != IGNORED).sum())

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.input_ids)

    def __getitem__(self, chosen: slice) -> PackedRows:
        """Some of the rows."""
        return PackedRows(self.input_ids[chosen], self.position_ids[chosen], self.targets[chosen])


def plan_rows(lengths: Sequence[int], context: int) -> list[list[int]]:
    """Which documents share a row: best fit over a few open rows, in order, so that shuffled input stays shuffled.

    `lengths` are the documents' input lengths (tokens less one); a longer one than `context` has a row of its own,
    where `collate` cuts it. Returns the indexes of the documents of each row.
    """
    rows: list[list[int]] = []
    still_open: list[tuple[int, list[int]]] = []
    for index, length in enumerate(lengths):
        wanted = min(length, context)
        best = min(
            (at for at, (space, _) in enumerate(still_open) if space >= wanted),
            key=lambda at: still_open[at][0],
            default=-1,
        )
        if best >= 0:
            space, members = still_open[best]
            members.append(index)
            still_open[best] = (space - wanted, members)
            continue
        if len(still_open) == OPEN_ROWS:
            fullest = min(range(OPEN_ROWS), key=lambda at: still_open[at][0])
            rows.append(still_open.pop(fullest)[1])
        still_open.append((context - wanted, [index]))
    return rows + [members for _, members in still_open]


def collate(rows: Sequence[Sequence[Sequence[int]]], context: int, filler: int) -> PackedRows:
    """Rows of documents as tensors of width `context`; `filler` is any valid token id.

    A document longer than `context + 1` tokens is cut. Padding counts as documents of one token each, so it attends to
    nothing and nothing attends to it.
    """
    ids: list[list[int]] = []
    positions: list[list[int]] = []
    targets: list[list[int]] = []
    for row in rows:
        row_ids: list[int] = []
        row_positions: list[int] = []
        row_targets: list[int] = []
        for document in row:
            inputs = document[: min(len(document) - 1, context)]
            row_ids.extend(inputs)
            row_positions.extend(range(len(inputs)))
            row_targets.extend(document[1 : len(inputs) + 1])
        if len(row_ids) > context:
            raise ValueError(f"A row of {len(row_ids)} tokens does not fit a context of {context}.")
        padding = context - len(row_ids)
        ids.append(row_ids + [filler] * padding)
        positions.append(row_positions + [0] * padding)
        targets.append(row_targets + [IGNORED] * padding)
    return PackedRows(torch.tensor(ids), torch.tensor(positions), torch.tensor(targets))


def pack(documents: Sequence[Sequence[int]], context: int, filler: int) -> PackedRows:
    """All `documents` packed in rows of `context` tokens (see `plan_rows` and `collate`)."""
    plan = plan_rows([len(d) - 1 for d in documents], context)
    return collate([[documents[i] for i in row] for row in plan], context, filler)


@torch.no_grad()
def keeps_apart(model: CausalLanguageModel) -> bool:
    """Whether the model computes a document as if it were alone when another one precedes it in its row. Asked of the
    model itself, in float32: two rows with the same document, once behind another and once first.
    """
    before, document = model.tokenizer.documents(["Two posts", "in one row"])
    lengths = [len(before) - 1, len(document) - 1]
    rows = collate([[before, document], [document]], sum(lengths), model.tokenizer.end_id)
    model.network.eval()
    states = model.network.base_model(
        input_ids=rows.input_ids.to(model.device), position_ids=rows.position_ids.to(model.device), use_cache=False
    ).last_hidden_state
    packed, alone = states[0, lengths[0] :], states[1, : lengths[1]]
    return float((packed - alone).abs().max()) <= TOLERANCE * float(alone.abs().max())
