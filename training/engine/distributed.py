"""Several processes, one on each device, that train one model together: each computes its share of a step's rows, and
the gradients are summed. Started by `torchrun`, which tells each process its place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

# Imported before there is a group: its functions' defaults are the group of that moment, which they would keep (an
# optimizer's first step imports it, too). The threads of a group that is kept may end the process with an abort.
import torch.distributed.nn

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The processes of one training; `rank` 0 is the first, which alone writes files. All its methods must be called by
    every process, in the same order.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> Group:
        """The group that `torchrun` started this process in; of this process alone without it."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return cls(dist.get_rank(), size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def total(self, *values: float) -> list[float]:
        """The sum of each value over all processes."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(summed)
        return [float(value) for value in summed]

    def largest(self, value: int) -> int:
        """The largest value of all processes."""
        if self.size == 1:
            return value
        most = torch.tensor(value)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return int(most)

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, in all of them."""
        if self.size == 1:
            return make()
        made = [make() if self.is_first else None]
        dist.broadcast_object_list(made, src=0)
        return made[0]  # type: ignore[return-value]

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces each gradient by its sum over all processes; one that a process lacks counts as zero."""
        if self.size == 1:
            return
        waiting = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            waiting.append(dist.all_reduce(parameter.grad, async_op=True))
        for work in waiting:
            work.wait()

    def leave(self) -> None:
        """Ends the group and its threads."""
        if self.size > 1:
            dist.destroy_process_group()


ALONE = Group()
