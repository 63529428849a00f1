"""Which posts each step of a training sees: epoch after epoch, each in an order of its own, all from the seed alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from training.engine.packing import plan_rows


class EpochPlan:
    """Posts in packed rows, rows in steps.

    A post of weight w is in an epoch ⌊w⌋ times, and once more with probability w − ⌊w⌋, drawn anew for each epoch.
    An epoch's rows are dealt evenly to its steps, so that the last one is no smaller than the others; `steps` is how
    many there are. `lengths` are the posts' input lengths, `width` that of a row.
    """

    def __init__(
        self, lengths: Sequence[int], weights: Sequence[float], width: int, rows_per_step: int, seed: int
    ) -> None:
        self._lengths, self._weights = lengths, np.asarray(weights, dtype=np.float64)
        self._width, self._seed = width, seed
        self._epoch, self._rows = 0, self._plan(0)
        self.steps = math.ceil(len(self._rows) / rows_per_step)

    def rows(self, step: int) -> list[list[int]]:
        """The numbers of the posts in each row of a step; steps count from 0 through all epochs."""
        epoch, at = divmod(step, self.steps)
        if epoch != self._epoch:
            self._epoch, self._rows = epoch, self._plan(epoch)
        first, last = (len(self._rows) * edge // self.steps for edge in (at, at + 1))
        return self._rows[first:last] or [self._rows[at % len(self._rows)]]

    def _plan(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng([self._seed, epoch])
        times = np.floor(self._weights + rng.random(len(self._weights))).astype(np.int64)
        if not times.any():  # tiny weights: an epoch shows each post once rather than none
            times[:] = 1
        order = rng.permutation(np.repeat(np.arange(len(times)), times))
        rows = [[int(order[i]) for i in row] for row in plan_rows([self._lengths[i] for i in order], self._width)]
        return [rows[i] for i in rng.permutation(len(rows))]
