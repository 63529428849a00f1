"""The posts of a training as rows of tokens: what each step computes, and what is held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from training.engine import conditioning
from training.engine.epochs import EpochPlan
from training.engine.models.causal import CausalLanguageModel
from training.engine.packing import PackedRows, collate, keeps_apart, plan_rows
from training.engine.types import FinetuneConfig, TrainingPost

WIDTH_STEP = 32
ALONE_IN_ROWS = (
    "Posts in one row would see one another in a model of this kind, so each is computed in a row of its own."
)

LeftOut = Callable[[int], bool]
"""Whether the post of a number is left out."""


class Batches:
    """Posts by number: first those to train on, then the parts that are held out.

    Rows are as narrow as the longest post allows, and more of them make a step: the same tokens, less attention
    computed only to be masked away. `width` is their width in tokens. Where the model lets posts in a row see one
    another, each has a row of its own, and `notes` say so.
    """

    def __init__(
        self,
        model: CausalLanguageModel,
        train: Sequence[TrainingPost],
        heldout: dict[str, Sequence[TrainingPost]],
        config: FinetuneConfig,
    ) -> None:
        held = [post for part in heldout.values() for post in part]
        self.posts = [*train, *held]
        self._tokenizer = model.tokenizer
        limit = min(config.context, model.positions)
        always = replace(config, condition_dropout=0.0)
        self._documents = conditioning.documents(model.tokenizer, train, config, limit + 1)
        longest = max(map(len, self._documents)) - 1
        self.width = min(limit, math.ceil(longest / WIDTH_STEP) * WIDTH_STEP)
        self._documents += conditioning.documents(model.tokenizer, held, always, self.width + 1)
        self._first_heldout = len(train)
        packed = keeps_apart(model)
        self.notes = () if packed else (ALONE_IN_ROWS,)
        # To the plan, a post that must be alone is as wide as its row.
        lengths = [len(document) - 1 if packed else self.width for document in self._documents]
        self.rows_per_step = max(1, config.rows_per_step * config.context // self.width)
        self.plan = EpochPlan(
            lengths[: len(train)], [post.weight for post in train], self.width, self.rows_per_step, config.seed
        )
        self._heldout: dict[str, list[list[int]]] = {}
        first, most = len(train), max(1, config.heldout_rows * config.context // self.width)
        for name, part in heldout.items():
            plan = plan_rows(lengths[first : first + len(part)], self.width)[:most]
            self._heldout[name] = [[first + number for number in row] for row in plan]
            first += len(part)

    def is_heldout(self, number: int) -> bool:
        """Whether a post is only tested on."""
        return number >= self._first_heldout

    def name(self, number: int) -> str:
        """What reports call a post."""
        return self.posts[number].key or f"post {number + 1}"

    def step(self, step: int, left_out: LeftOut) -> list[list[int]]:
        """The numbers of the posts in each row of a step."""
        return _without(self.plan.rows(step), left_out)

    def heldout(self, name: str, left_out: LeftOut) -> list[list[list[int]]]:
        """The numbers of the posts that a part holds out, in rows, in batches."""
        rows, size = _without(self._heldout[name], left_out), self.rows_per_step
        return [rows[first : first + size] for first in range(0, len(rows), size)]

    def tensors(self, rows: Sequence[Sequence[int]]) -> PackedRows:
        """Rows of posts as tensors."""
        return self._collate(rows, self.width)

    def alone(self, number: int) -> PackedRows:
        """One post, in a row that is no wider than it."""
        return self._collate([[number]], min(self.width, len(self._documents[number]) - 1))

    def _collate(self, rows: Sequence[Sequence[int]], width: int) -> PackedRows:
        packed = collate([[self._documents[i] for i in row] for row in rows], width, self._tokenizer.end_id)
        return conditioning.without_prompts(packed, self._tokenizer) if rows else packed


def _without(rows: Sequence[Sequence[int]], left_out: LeftOut) -> list[list[int]]:
    kept = ([number for number in row if not left_out(number)] for row in rows)
    return [row for row in kept if row]
